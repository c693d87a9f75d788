"""Train the bundled language model: a small Mamba that reads and writes bytes.

    python bench/train_pydoc.py DIR --minutes 75                train; DIR gets what converts
    python bench/train_pydoc.py DIR --minutes 75 --resume       go on after an interruption
    python bench/train_pydoc.py --evaluate DIR pydoc.npz ...    held-out bits a byte of each
    python bench/train_pydoc.py --record DIR pydoc.npz ...      and write pydoc_held_out.json

The text is Python's own documentation. Every 25th block of it is held out: training never reads
those, but of the checkpoints, written every few minutes, the one that tells them best is kept.

The learning rate falls with the time that has passed, because nobody knows how much of a shared
processor a run will get: it ends when its minutes are over. Batches are the seed's, so ``--steps``
repeats a run as far as the processor's arithmetic allows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

try:
    import torch
except ModuleNotFoundError as error:
    raise SystemExit(
        f"{error.name} is missing: pip install '.[train]' --extra-index-url "
        "https://download.pytorch.org/whl/cpu (without that index, PyTorch comes with CUDA)"
    ) from None

from python_text import python_text
from torch import Tensor
from torch.nn import functional
from torch_mamba import MambaLM, Sizes

SIZES = Sizes(d_model=128, n_layer=4)
RECORD = Path(__file__).with_name("pydoc_held_out.json")

BLOCK = 4096  # bytes; a held-out block is read from its first byte on, with an empty state
HELD_OUT_EVERY = 25  # blocks

BATCH_SIZE = 8
WINDOW = 512  # bytes
LEARNING_RATE = 4e-3
LAST_RATE = 0.02  # of LEARNING_RATE: where the cosine ends
WARM_UP = 60  # steps
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1
GRADIENT_NORM = 1.0
SECONDS_BETWEEN_CHECKPOINTS = 180.0

WEIGHTS, CONFIG, RESUME = "pytorch_model.bin", "config.json", "resume.pt"

Logits = Callable[[np.ndarray], np.ndarray]
"""From ids (length,) to logits (length, 256)."""


@dataclass
class Progress:
    """How far a run has come, over all its interruptions."""

    step: int = 0
    seconds: float = 0.0
    best_bits: float = math.inf
    best_step: int = 0


@dataclass(frozen=True)
class Budget:
    """When a run is over: after so many minutes, or steps."""

    minutes: float | None = None
    steps: int | None = None

    def fraction(self, progress: Progress) -> float:
        """How much of it is used, 0 to 1."""
        if self.steps is not None:
            return min(1.0, progress.step / self.steps)
        assert self.minutes is not None
        return min(1.0, progress.seconds / (60 * self.minutes))


def split(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Cut a text into blocks: bytes to train on (n,), and held-out blocks (m, BLOCK), uint8."""
    count = len(text) // BLOCK
    blocks = np.frombuffer(text, np.uint8, count * BLOCK).reshape(count, BLOCK)
    held_out = np.arange(count) % HELD_OUT_EVERY == HELD_OUT_EVERY // 2
    return blocks[~held_out].ravel(), blocks[held_out]


def bits_a_byte(logits_of: Logits, blocks: np.ndarray) -> float:
    """Mean bits that it takes to tell each byte of the blocks after their first, from logits."""
    bits = []
    for block in blocks:
        logits = logits_of(block[:-1]).astype(np.float64)  # (BLOCK - 1, 256)
        logits -= logits.max(1, keepdims=True)
        told = np.take_along_axis(logits, block[1:, None].astype(np.intp), 1)[:, 0]
        bits.append(np.log2(np.exp(logits).sum(1)) - told / math.log(2))
    return float(np.mean(bits))


def torch_logits(model: MambaLM) -> Logits:
    """Return a function from ids to logits that runs PyTorch."""

    @torch.inference_mode()
    def logits_of(ids: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(ids.astype(np.int64))[None])[0].numpy()

    return logits_of


def batch(text: np.ndarray, seed: int, step: int) -> Tensor:
    """Windows of the text from random places, with the byte after each: (B, WINDOW + 1), int64."""
    rng = np.random.default_rng([seed, step])  # of the step, so that a resumed run goes on alike
    places = rng.integers(0, len(text) - WINDOW, BATCH_SIZE)
    windows = np.stack([text[place : place + WINDOW + 1] for place in places])
    return torch.from_numpy(windows.astype(np.int64))


def make_optimizer(model: MambaLM) -> torch.optim.Optimizer:
    """AdamW; only the matrices decay, not A_log, biases, norms and the convolutions."""
    decaying: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim == 2 and not name.endswith("A_log")
        (decaying if is_matrix else others).append(parameter)
    groups = [{"params": decaying}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY)


def learning_rate(step: int, fraction: float) -> float:
    """A few steps to warm up, then half a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * fraction))
    return LEARNING_RATE * min(1.0, (step + 1) / WARM_UP) * (LAST_RATE + (1 - LAST_RATE) * cosine)


def take_step(model: MambaLM, optimizer: torch.optim.Optimizer, windows: Tensor) -> float:
    """One step on a batch; returns its loss in bits a byte."""
    logits = model(windows[:, :-1])
    loss = functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
    optimizer.step()
    return loss.item() / math.log(2)


class Run:
    """A run of training in a folder, which holds all it takes to go on after an interruption."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        torch.manual_seed(seed)
        self.model = MambaLM(SIZES)
        self.optimizer = make_optimizer(self.model)
        self.progress = Progress()

    def resume(self) -> None:
        """Go on from the folder's last checkpoint."""
        kept = torch.load(self.folder / RESUME, weights_only=True)
        if kept["seed"] != self.seed:
            raise SystemExit(f"{self.folder} was begun with --seed {kept['seed']}")
        self.model.load_state_dict(kept["model"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.progress = Progress(**kept["progress"])

    def train(self, text: np.ndarray, held_out: np.ndarray, budget: Budget) -> None:
        """Train until the budget is used, with a checkpoint every few minutes."""
        progress, losses = self.progress, []
        last_time = last_checkpoint = time.monotonic()
        while (fraction := budget.fraction(progress)) < 1:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(progress.step, fraction)
            windows = batch(text, self.seed, progress.step)
            losses.append(take_step(self.model, self.optimizer, windows))
            progress.step += 1
            now = time.monotonic()
            progress.seconds += now - last_time
            last_time = now
            is_last = budget.fraction(progress) >= 1
            if is_last or now - last_checkpoint >= SECONDS_BETWEEN_CHECKPOINTS:
                self.checkpoint(held_out, float(np.mean(losses)))
                last_checkpoint, losses = time.monotonic(), []

    def checkpoint(self, held_out: np.ndarray, loss: float) -> None:
        """Measure the held-out blocks, and write what resumes and, if it is the best, converts."""
        progress = self.progress
        bits = bits_a_byte(torch_logits(self.model), held_out)
        if bits < progress.best_bits:
            progress.best_bits, progress.best_step = bits, progress.step
            save_original(self.folder, self.model)
        _save(
            self.folder / RESUME,
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": asdict(progress),
                "seed": self.seed,
            },
        )
        print(
            f"step {progress.step:6d}  {progress.seconds:5.0f} s  training {loss:.4f}  "
            f"held out {bits:.4f} bits a byte, best {progress.best_bits:.4f}",
            flush=True,
        )


def _save(path: Path, values: dict[str, Any]) -> None:
    """Write a file as a whole: an interruption leaves the one before."""
    temporary = path.with_suffix(".tmp")
    torch.save(values, temporary)
    os.replace(temporary, path)


def save_original(folder: Path, model: MambaLM) -> None:
    """Write a checkpoint as the original does: a plain state dict, and its configuration."""
    (folder / CONFIG).write_text(json.dumps(model.sizes.original(), indent=4) + "\n")
    _save(folder / WEIGHTS, model.state_dict())


def load_original(folder: Path) -> MambaLM:
    """Read a checkpoint that :func:`save_original` wrote."""
    if json.loads((folder / CONFIG).read_text()) != SIZES.original():
        raise SystemExit(f"{folder} has a network of other sizes")
    model = MambaLM(SIZES)
    model.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    return model.eval()


def networks(path: Path) -> Iterator[tuple[str, Logits]]:
    """Every way to run a file, with a name: vimnp for .npz, PyTorch for a checkpoint's folder."""
    if path.suffix != ".npz":
        yield "float32, PyTorch", torch_logits(load_original(path))
        return
    import vimnp  # here, so that training needs no compiled vimnp
    from vimnp.weights import WeightsFile

    with WeightsFile(path) as file:
        for backend in ("numpy", "native"):
            model = vimnp.MambaLM.from_weights(file, backend=backend)
            yield f"{file.metadata.dtype}, vimnp, {backend}", model


def evaluate(paths: Sequence[Path], held_out: np.ndarray) -> dict[str, float]:
    """Print and return each network's bits a byte of the held-out blocks."""
    measured = {}
    for path in paths:
        for name, logits_of in networks(path):
            measured[name] = round(bits_a_byte(logits_of, held_out), 5)
            print(f"{name}: {measured[name]:.5f} bits a byte", flush=True)
    return measured


def record(text: bytes, folder: Path, measured: dict[str, float]) -> None:
    """Write what the held-out blocks were, and how well they were told."""
    kept = torch.load(folder / RESUME, weights_only=True)
    values = {
        "text": "Python's help topics and its standard library's docstrings (python_text.py)",
        "licence": "Python Software Foundation License Version 2",
        "python": platform.python_version(),
        "text_bytes": len(text),
        "text_sha256": hashlib.sha256(text).hexdigest(),
        "block_bytes": BLOCK,
        "held_out_blocks": f"{HELD_OUT_EVERY // 2} and every {HELD_OUT_EVERY}th after it",
        "torch": torch.__version__,
        "seed": kept["seed"],
        "steps": kept["progress"]["best_step"],
        "bytes_read": kept["progress"]["best_step"] * BATCH_SIZE * WINDOW,
        "bits_a_byte": measured,
    }
    RECORD.write_text(json.dumps(values, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=75.0)
    budget.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--evaluate", action="store_true", help="do not train: measure the files")
    instead.add_argument(
        "--record", action="store_true", help=f"the same, and write {RECORD.name}; first the folder"
    )
    arguments = parser.parse_args()
    if not (arguments.evaluate or arguments.record) and len(arguments.paths) != 1:
        parser.error("expected one DIR")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(1)  # two gain little with matrices of this size
    text = python_text()
    training, held_out = split(text)
    if arguments.evaluate or arguments.record:
        measured = evaluate(arguments.paths, held_out)
        if arguments.record:
            record(text, arguments.paths[0], measured)
        return
    folder = arguments.paths[0]
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder, arguments.seed)
    if arguments.resume:
        run.resume()
    run.train(training, held_out, Budget(arguments.minutes, arguments.steps))


if __name__ == "__main__":
    main()
