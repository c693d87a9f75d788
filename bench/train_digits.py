"""Train the demonstration model: a small Vision Mamba that reads handwritten digits.

    python bench/train_digits.py digits.pth                        train and write a checkpoint
    python bench/train_digits.py --evaluate digits.pth digits.npz  accuracy, and how far they differ
    python bench/train_digits.py --export-scans tests/data digits.pth

The data are the 1,797 scans of 8x8 pixels that come with scikit-learn. 360 of them, drawn once at
random with every digit's share kept, are held out: ``digits_held_out.json`` lists them. Training
never touches those, and nothing is chosen by them: the number of epochs is fixed.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

try:
    import torch
    from sklearn.datasets import load_digits
except ModuleNotFoundError as error:
    raise SystemExit(
        f"{error.name} is missing: pip install '.[train]' --extra-index-url "
        "https://download.pytorch.org/whl/cpu (without that index, PyTorch comes with CUDA)"
    ) from None

import checkout  # noqa: F401  (finds tests.support)
from torch import Tensor
from torch.nn import functional

from tests.support.torch_vim import VisionMamba
from vimnp.config import VimConfig
from vimnp.images.preprocessing import Preprocessing, preprocess

CONFIG = VimConfig(img_size=(32, 32), patch_size=8, stride=8, depth=4, embed_dim=64, num_classes=10)
PREPROCESSING = Preprocessing(crop_pct=1.0)
HELD_OUT = Path(__file__).with_name("digits_held_out.json")

EPOCHS = 50
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.05
GRADIENT_NORM = 1.0

# Largest random changes to a scan. No mirroring: a mirrored digit is another sign or none.
ROTATION = math.radians(12)
SCALING = 0.12
SHEAR = 0.12
SHIFT = 0.7  # pixels of the scan
FINER = 4  # a scan is warped at this many times its resolution

Predict = Callable[[list[Image.Image]], np.ndarray]


def load_scans() -> tuple[list[Image.Image], np.ndarray]:
    """Read all scans as 8-bit grey pictures, white on black, with their labels."""
    digits = load_digits()  # values 0..16: how many of 4x4 finer pixels were inked
    grey = np.round(digits.images * 255 / 16).astype(np.uint8)
    return [Image.fromarray(scan) for scan in grey], digits.target


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the scans for training and of those that are held out."""
    record = json.loads(HELD_OUT.read_text())
    held_out = np.array(record["indices"])
    if labels[held_out].tolist() != record["labels"]:
        raise SystemExit(f"{HELD_OUT.name} does not fit this version of the data set")
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def augment(scan: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Rotate, scale, shear and shift a scan a little, at random, about its centre."""
    angle, shear = rng.uniform(-1, 1, 2) * (ROTATION, SHEAR)
    scale = 1 + rng.uniform(-1, 1, 2) * SCALING
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.array([[1, shear], [0, 1]]) / scale
    centre = np.array(scan.size) * FINER / 2
    offset = centre - matrix @ centre + rng.uniform(-SHIFT, SHIFT, 2) * FINER

    fine = scan.resize((scan.width * FINER, scan.height * FINER), Image.Resampling.BICUBIC)
    # PIL's coefficients lead from a pixel of the result to its place in the source.
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    fine = fine.transform(
        fine.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
    return fine.reduce(FINER)  # the mean of every 4x4, as the scans were made


def to_input(scans: Sequence[Image.Image]) -> Tensor:
    """Take the pictures along the way that a user's pictures take: (B, 3, H, W)."""
    arrays = [preprocess(scan, CONFIG.img_size, PREPROCESSING) for scan in scans]
    return torch.from_numpy(np.stack(arrays))


def batches(
    scans: list[Image.Image], labels: np.ndarray, indices: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of augmented scans in random order; the last batch is left out if not full."""
    order = rng.permutation(indices)
    for start in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        inputs = to_input([augment(scans[index], rng) for index in chosen])
        yield inputs, torch.from_numpy(labels[chosen])


def make_optimizer(model: VisionMamba) -> torch.optim.Optimizer:
    """AdamW; only the matrices and filters decay, not A_log, biases, norms and tokens."""
    decaying: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in model.named_parameters():
        is_filter = name.startswith("layers") and name.endswith(".weight") and parameter.ndim > 1
        (decaying if is_filter else others).append(parameter)
    groups = [{"params": decaying}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def train(
    scans: list[Image.Image], labels: np.ndarray, indices: np.ndarray, epochs: int, seed: int
) -> VisionMamba:
    """Train on the scans at these indices for a fixed number of epochs."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = VisionMamba(CONFIG)
    optimizer = make_optimizer(model)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, epochs * (len(indices) // BATCH_SIZE), pct_start=0.1
    )
    start = time.perf_counter()
    for epoch in range(epochs):
        losses = []
        for inputs, targets in batches(scans, labels, indices, rng):
            loss = functional.cross_entropy(model(inputs), targets, label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1:3d}  loss {np.mean(losses):.4f}  {seconds:5.0f} s", flush=True)
    return model.eval()


def save(path: Path, model: VisionMamba, epochs: int, seed: int) -> None:
    """Write a checkpoint of the layout that the original's training script has."""
    values = {"config": model.config.to_dict(), "epochs": epochs, "seed": seed}
    torch.save({"model": model.state_dict(), **values}, path)


def load(path: Path) -> VisionMamba:
    """Read a checkpoint that :func:`save` wrote."""
    checkpoint = torch.load(path, weights_only=True)
    model = VisionMamba(VimConfig.from_dict(checkpoint["config"]))
    model.load_state_dict(checkpoint["model"])
    return model.eval()


def round_to_float16(model: VisionMamba) -> VisionMamba:
    """Round the weights as a float16 weights file does; the arithmetic stays float32."""
    rounded = VisionMamba(model.config)
    rounded.load_state_dict({name: w.half().float() for name, w in model.state_dict().items()})
    return rounded.eval()


def torch_predictor(model: VisionMamba) -> Predict:
    """A function from pictures to logits that runs PyTorch."""

    @torch.inference_mode()
    def predict(scans: list[Image.Image]) -> np.ndarray:
        return model(to_input(scans)).numpy()

    return predict


def predictors(path: Path) -> Iterator[tuple[str, Predict]]:
    """Every way to run a file, with a name: vimnp for .npz, PyTorch for anything else."""
    if path.suffix == ".npz":
        import vimnp  # here, so that training needs no compiled vimnp

        yield f"{path.name}, vimnp", vimnp.VisionMamba.from_npz(path)
        return
    model = load(path)
    yield f"{path.name}, PyTorch", torch_predictor(model)
    yield f"{path.name}, PyTorch, float16 weights", torch_predictor(round_to_float16(model))


def evaluate(paths: Sequence[Path], scans: list[Image.Image], labels: np.ndarray) -> None:
    """Print each file's accuracy on these scans, and how far it is from the first one's logits."""
    first = None
    for path in paths:
        for name, predict in predictors(path):
            logits = np.asarray(predict(scans))
            first = logits if first is None else first
            right = int((logits.argmax(1) == labels).sum())
            print(
                f"{name}: {right} of {len(labels)} right ({right / len(labels):.2%}), "
                f"largest logit difference {np.abs(logits - first).max():.2g}"
            )


def export_scans(
    folder: Path, path: Path, scans: list[Image.Image], labels: np.ndarray, indices: np.ndarray
) -> None:
    """Write, for each digit, the first of these scans that the model reads rightly."""
    logits = torch_predictor(load(path))([scans[index] for index in indices])
    right = indices[logits.argmax(1) == labels[indices]]
    for digit in range(CONFIG.num_classes):
        index = right[labels[right] == digit][0]
        scans[index].save(folder / f"digit_{digit}_{index}.png")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--evaluate", action="store_true", help="do not train: test the files")
    instead.add_argument(
        "--export-scans",
        type=Path,
        metavar="DIR",
        help="do not train: write one held-out scan of each digit that the file reads rightly",
    )
    arguments = parser.parse_args()
    if not arguments.evaluate and len(arguments.files) != 1:
        parser.error("expected one FILE")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    scans, labels = load_scans()
    training, held_out = split(labels)
    tests = [scans[index] for index in held_out]
    if arguments.export_scans:
        export_scans(arguments.export_scans, arguments.files[0], scans, labels, held_out)
        return
    if not arguments.evaluate:
        model = train(scans, labels, training, arguments.epochs, arguments.seed)
        save(arguments.files[0], model, arguments.epochs, arguments.seed)
    evaluate(arguments.files, tests, labels[held_out])


if __name__ == "__main__":
    main()
