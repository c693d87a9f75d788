"""The network: Vision Mamba, from a picture to logits.

Glossary, the paper's names on the right (Vision Mamba, Zhu et al. 2024; Mamba, Gu & Dao 2023):

    L   tokens: patches and class tokens        L
    M   patches
    E   embed_dim, channels between layers      D
    Dn  d_inner, channels inside a mixer        E
    N   d_state                                 N
    R   dt_rank
    K   d_conv, taps of the convolution

Activations are token-major float32, (L, channels). An image passes through alone, whatever the
batch: memory does not grow with the batch, and an image's logits do not depend on its neighbours.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, cast, overload

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vimnp.counts import checked_count
from vimnp.engine.choices import Backend, Scan
from vimnp.engine.settings import Way, asked_backend, resolve_backend
from vimnp.errors import ConfigError, WeightsError
from vimnp.images.image_file import PictureFile, is_picture_file, name_of, naming
from vimnp.images.preprocessing import Picture, is_batch, to_input
from vimnp.models.ranking import best_first
from vimnp.models.vim.config import VIM_BASE, VIM_SMALL, VIM_TINY, VimConfig
from vimnp.models.vim.layout import lay_out
from vimnp.models.vim.parameters import (
    DirectionParameters,
    Layer,
    Load,
    Norm,
    Reader,
    load_parameters,
    random_reader,
    transposed,
)
from vimnp.models.vim.workspace import DirectionSpace, Spares, Workspace
from vimnp.ops import kernels
from vimnp.ops.kernels import Filter
from vimnp.ops.reference import BIDIRECTIONAL_METHODS
from vimnp.runtime import blas, extension
from vimnp.runtime.threads import resolve_num_threads
from vimnp.version import __version__
from vimnp.weights.file import Metadata, WeightsFile

if TYPE_CHECKING:
    from PIL import Image

    from vimnp.engine.compiled import NativeNetwork

    Pictures: TypeAlias = Picture | Iterable[Picture]

Output: TypeAlias = Literal["logits", "features", "tokens"]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A class that the network sees in a picture.

    Parameters
    ----------
    index : int
    label : str or None
        The class's name, where the weights file has names.
    score : float
        Its share of the softmax, 0 to 1.
    """

    index: int
    label: str | None
    score: float


_SETTLED = frozenset(
    {
        "num_threads",
        "backend",
        "_limits_blas",
        "_spares",
        "_native",
        "_operations",
        "_parameters",
    }
)
"""Attributes of a model that are decided, and made, where it is to run."""


def _expect_scan(scan: str) -> None:
    if scan not in BIDIRECTIONAL_METHODS:
        raise ConfigError(f"scan is {scan!r}; expected one of {BIDIRECTIONAL_METHODS}")


class VisionMamba:
    """A Vision Mamba (hustvl/Vim, ``VisionMamba`` in ``vim/models_mamba.py``) at inference.

    Made by :meth:`from_npz` or :meth:`random`. One model may be called from several threads at
    once, and from a signal handler while it runs.

    A model can be pickled, and loaded by the same version of vimnp, on a machine of another kind
    too: weights and settings travel, what was left to "auto" or to the number of CPUs is decided
    anew. A copy, a deep one too, shares the weights, which nothing writes.

    Parameters
    ----------
    metadata : vimnp.weights.Metadata
        Configuration, preprocessing and labels.
    read : callable
        Gives each tensor by its name in the PyTorch state dict.
    scan : {"fused", "sequential", "fixlen", "fused_fixlen"}
        See :func:`vimnp.ops.selective_scan_bidirectional`.
    num_threads : int, optional
        Threads of the compiled kernels; see :func:`vimnp.threads.resolve_num_threads`. The "numpy"
        backend's matrix products have one thread each: an OpenBLAS is set to that in the whole
        process while a pass runs, and set back after it (:mod:`vimnp.runtime.blas` says why). Where
        ``OPENBLAS_NUM_THREADS`` is set when the model is made, or NumPy has another BLAS, they
        have as many as that is set to.
    backend : {"auto", "numpy", "native"}, optional
        Whether NumPy multiplies the matrices, and this file reads as the network does, or the
        whole network runs in one compiled parallel region (:mod:`vimnp.engine.compiled`): faster,
        with "fused" scans only. "auto" is "native" where the kernels are there, nothing is forced
        into NumPy and the scan is "fused", and "numpy" otherwise. None stands for
        ``VIMNP_BACKEND``, or without it for "auto".

    Attributes
    ----------
    config : VimConfig
    backend : {"numpy", "native"}
        The one that runs.
    scan : str
    num_threads : int
        The most that it uses. Like the backend, the instruction set (``VIMNP_ISA``) and what is
        forced into NumPy, it is decided when the model is made: no later change of the environment
        changes a model.

    Raises
    ------
    ConfigError
        If the scan mode, the number of threads or the backend means nothing, the backend lacks
        the scan mode or its kernels, or the sizes are not those of this class.
    TypeError
        If there are no `metadata` or no `read`.
    """

    variant: ClassVar[VimConfig | None] = None
    """The sizes that a named network must have."""

    def __init__(
        self,
        metadata: Metadata | None = None,
        read: Reader | None = None,
        *,
        scan: Scan = "fused",
        num_threads: int | None = None,
        backend: Backend | None = None,
    ) -> None:
        if metadata is None or read is None:  # Python's own error would name these two
            name = type(self).__name__
            raise TypeError(
                f"{name} needs weights; expected {name}.from_npz(path), or {name}.random()"
            )
        _expect_scan(scan)
        self._check_variant(metadata.config)
        self.metadata = metadata
        self.config = metadata.config
        self.scan = scan
        resolve_backend(backend, scan)  # an error then names where the backend comes from
        self._asked_backend, self._asked_threads = asked_backend(backend), num_threads
        self._settle(functools.partial(load_parameters, self.config, read))

    def _settle(self, load: Load) -> None:
        """Decide how to run here, and get the parameters in the layout for that."""
        self.num_threads = resolve_num_threads(self._asked_threads)
        self.backend = resolve_backend(self._asked_backend, self.scan)
        self._limits_blas = self.backend == "numpy" and blas.is_limited()
        self._spares = Spares(functools.partial(Workspace, self.config))
        self._native: NativeNetwork | None = None
        if self.backend == "native":
            from vimnp.engine.compiled import NativeNetwork

            self._native = NativeNetwork(self.config, load, self.num_threads)
            self.num_threads = self._native.num_threads
            return
        self._operations = extension.choose()
        self._parameters = load(transposed)

    # ---- Pickles and copies ---------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """What was given, the user's own attributes, and the parameters in no backend's layout."""
        state = {name: value for name, value in self.__dict__.items() if name not in _SETTLED}
        state["_version"] = __version__
        state["_plain"] = self._parameters if self._native is None else self._native.plain()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        version, plain = state.pop("_version"), state.pop("_plain")
        if version != __version__:
            raise WeightsError(
                f"this model was pickled by vimnp {version}, and this is {__version__}; expected "
                "one that this version has pickled: load the model's weights file again"
            )
        self.__dict__.update(state)
        self._settle(functools.partial(lay_out, self.config, plain))

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        other = memo[id(self)] = copy.copy(self)
        for name, value in self.__dict__.items():
            if name not in _SETTLED:
                other.__dict__[name] = copy.deepcopy(value, memo)
        return other

    # ---- Other ways to make one, and settings ---------------------------------------------------

    @classmethod
    def from_npz(
        cls,
        path: str | os.PathLike[str],
        *,
        img_size: int | tuple[int, int] | None = None,
        scan: Scan = "fused",
        num_threads: int | None = None,
        backend: Backend | None = None,
    ) -> Self:
        """Load a weights file that ``vimnp convert`` wrote.

        Parameters
        ----------
        path : path-like
        img_size : int or (height, width), optional
            Take pictures of this size in pixels, and not of the size that the network was trained
            for; see :func:`vimnp.models.vim.resize.resized`.
        scan, num_threads, backend
            As for the class.

        Raises
        ------
        WeightsError
            If the file is missing, damaged, or not a vimnp weights file.
        ConfigError
            As for the class, or if the network cannot take pictures of this size.
        """
        with WeightsFile(path) as file:
            metadata = file.metadata
            read: Reader = file.read
            if img_size is not None:
                from vimnp.models.vim.resize import resized

                config, read = resized(metadata.config, read, img_size)
                metadata = dataclasses.replace(metadata, config=config)
            return cls(metadata, read, scan=scan, num_threads=num_threads, backend=backend)

    @classmethod
    def random(
        cls,
        seed: int = 0,
        *,
        config: VimConfig | None = None,
        scan: Scan = "fused",
        num_threads: int | None = None,
        backend: Backend | None = None,
    ) -> Self:
        """A network of random weights, for benchmarks and tests.

        Parameters
        ----------
        seed : int
            The same seed gives the same weights.
        config : VimConfig, optional
            That of the named network by default; of Vim-tiny for ``VisionMamba`` itself.
        scan, num_threads, backend
            As for the class.
        """
        config = config or cls.variant or VIM_TINY
        reader = random_reader(config, seed)
        return cls(
            Metadata(config=config), reader, scan=scan, num_threads=num_threads, backend=backend
        )

    def with_settings(self, *, scan: Scan | None = None, num_threads: int | None = None) -> Self:
        """The same network, on the same weights in memory, run in another way.

        Parameters
        ----------
        scan : str, optional
            Another scan mode.
        num_threads : int, optional
            Another number of threads.

        Raises
        ------
        ConfigError
            As for the class.
        """
        other = copy.copy(self)
        if scan is not None:
            _expect_scan(scan)
            resolve_backend(self.backend, scan)
            other.scan, other._asked_backend = scan, self.backend
        if num_threads is not None:
            other._asked_threads = num_threads
            other.num_threads = resolve_num_threads(num_threads)
            if self._native is not None:
                other._native = self._native.with_num_threads(other.num_threads)
                other.num_threads = other._native.num_threads
        return other

    @property
    def way(self) -> Way:
        """How this model runs: backend, scan, threads and instruction set."""
        runs = self._operations if self._native is None else self._native
        return Way(self.backend, self.scan, self.num_threads, runs.instruction_set)

    def __repr__(self) -> str:
        config = self.config
        height, width = config.img_size
        return (
            f"{type(self).__name__}({height}x{width} pixels, {config.num_tokens} tokens, "
            f"embed_dim {config.embed_dim}, depth {config.depth}, {config.num_classes} classes; "
            f"{self.way})"
        )

    def __call__(self, images: Pictures) -> np.ndarray:
        """Logits.

        Parameters
        ----------
        images : PIL.Image.Image, ndarray, path-like, binary file, or a batch of these
            A picture: a PIL image; the path of a picture file, or that file, open; an array of
            uint8 (H, W, 3), RGB, (H, W, 4), with an alpha that is dropped, (H, W) or (H, W, 1),
            grey; or an array of floats (3, H, W) that is normalised already and of the network's
            size. What NumPy can make such an array of, as a tensor on the CPU, is taken for it.
            A batch: an array with one dimension more, (B, H, W, 3) or (B, 3, H, W); a list; or
            anything else that gives pictures in an order, as a generator, of which only as many
            are in memory at once as go through the network together.

        Returns
        -------
        ndarray of float32, shape (classes,), or (B, classes) for a batch
            With ``final_pool_type`` "all" and no class token, those of every token: (L, classes),
            or (B, L, classes).

        Raises
        ------
        ImageError
            If `images` is none of these, or a file cannot be read; of a batch, ``images[3]`` is the
            fourth picture.
        """
        return self._forward_all(images, "logits")

    def features(self, images: Pictures) -> np.ndarray:
        """What goes into the head: the normalised class token, or the pooled tokens.

        Parameters
        ----------
        images
            As for calling the model.

        Returns
        -------
        ndarray of float32, shape (E,), or (B, E) for a batch or a list
            Where the head reads every token (without a class token, ``final_pool_type`` "max" or
            "all"), those: (L, E), or (B, L, E).
        """
        return self._forward_all(images, "features")

    def forward_features(self, images: Pictures) -> np.ndarray:
        """Every token after the final norm, for use as a backbone.

        Parameters
        ----------
        images
            As for calling the model.

        Returns
        -------
        ndarray of float32, shape (L, E), or (B, L, E) for a batch or a list
            In the order of the sequence, which ``flip_img_sequences_ratio`` may have reversed.
            Class tokens stand where ``config.class_tokens`` says, counted in the picture's order;
            :meth:`feature_map` leaves them out.
        """
        return self._forward_all(images, "tokens")

    def feature_map(self, images: Pictures) -> np.ndarray:
        """The patches' tokens after the final norm, where they lie in the picture.

        Parameters
        ----------
        images
            As for calling the model.

        Returns
        -------
        ndarray of float32, shape (E, h, w), or (B, E, h, w) for a batch or a list
            h and w are ``config.grid_size``.
        """
        tokens = self._in_picture(self.forward_features(images))
        patches = np.delete(tokens, list(self.config.class_tokens.values()), axis=-2)
        grid = patches.reshape(*tokens.shape[:-2], *self.config.grid_size, self.config.embed_dim)
        return np.ascontiguousarray(np.moveaxis(grid, -1, -3))

    @overload
    def predict(self, images: Image.Image | PictureFile, top_k: int = 5) -> list[Prediction]: ...
    @overload
    def predict(
        self, images: list[Any] | tuple[Any, ...] | Iterator[Any], top_k: int = 5
    ) -> list[list[Prediction]]: ...
    @overload
    def predict(
        self, images: Pictures, top_k: int = 5
    ) -> list[Prediction] | list[list[Prediction]]: ...
    def predict(
        self, images: Pictures, top_k: int = 5
    ) -> list[Prediction] | list[list[Prediction]]:
        """The likeliest classes, best first.

        Parameters
        ----------
        images
            As for calling the model.
        top_k : int
            How many; all of them where there are fewer classes.

        Returns
        -------
        list of Prediction, or a list of such lists for a batch or a list

        Raises
        ------
        ConfigError
            If `top_k` is no whole number from 1 up, or the network has logits for every token.
        ImageError
            As for calling the model, or if the logits are not finite.
        """
        top_k = checked_count("top_k", top_k)
        if self._rows("logits"):
            raise ConfigError(
                "final_pool_type is 'all', so there are logits for every token, and none for the "
                "picture; expected another one: call the model for the logits"
            )
        logits = self(images)
        if logits.ndim == 1:
            with naming(name_of(images)) if is_picture_file(images) else nullcontext():
                return self._best(logits, top_k)
        answers = []
        for index, row in enumerate(logits):
            with naming(f"images[{index}]"):
                answers.append(self._best(row, top_k))
        return answers

    def _best(self, logits: np.ndarray, top_k: int) -> list[Prediction]:
        best = best_first(logits)[:top_k]
        with np.errstate(over="ignore"):  # of logits that far apart, the score is 0
            scores = np.exp(logits - logits.max())
        scores /= scores.sum()
        labels = self.metadata.labels
        return [Prediction(int(i), labels[i] if labels else None, float(scores[i])) for i in best]

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes by their index, where the weights file has some."""
        return self.metadata.labels

    @property
    def num_parameters(self) -> int:
        """Weights of the network, as PyTorch counts them."""
        return self.config.num_parameters

    def summary(self) -> str:
        """What the network is made of and how it runs, in a few lines to be printed."""
        config = self.config
        (height, width), (rows, columns) = config.img_size, config.grid_size
        class_tokens = len(config.class_tokens)
        facts = {
            "pictures": f"{height}x{width} pixels, {self.metadata.preprocessing.crop_pct} of a "
            "picture's height or width",
            "patches": f"{rows}x{columns} of {config.patch_size}x{config.patch_size} pixels, "
            f"{config.stride} pixels apart",
            "tokens": f"{config.num_tokens:,}, {class_tokens} of them class tokens",
            "layers": f"{config.depth}, embed_dim {config.embed_dim}, d_inner {config.d_inner}, "
            f"d_state {config.d_state}",
            "classes": f"{config.num_classes:,}, {'with' if self.labels else 'without'} labels",
            "parameters": f"{self.num_parameters:,}, "
            f"{4 * self.num_parameters / 1e6:.1f} MB in memory",
            "runs": str(self.way),
        }
        lines = [f"  {name:<11} {fact}" for name, fact in facts.items()]
        return "\n".join([type(self).__name__, *lines])

    def preprocess(self, picture: Picture) -> np.ndarray:
        """Resize, crop and normalise a picture as this network takes it.

        Parameters
        ----------
        picture
            A single one, as for calling the model.

        Returns
        -------
        ndarray of float32, shape (3, H, W)
            Of the size ``config.img_size``. The model takes it in the picture's place.

        Raises
        ------
        ImageError
            As for calling the model.
        """
        return to_input(picture, self.config.img_size, self.metadata.preprocessing)

    def _check_variant(self, config: VimConfig) -> None:
        if self.variant is None:
            return
        for name in ("embed_dim", "depth", "d_state"):
            found, expected = getattr(config, name), getattr(self.variant, name)
            if found != expected:
                raise ConfigError(
                    f"these weights have {name} {found}; {type(self).__name__} has {expected}: "
                    "load them with VisionMamba"
                )

    def _forward_all(self, images: Pictures, output: Output) -> np.ndarray:
        """What is asked for of an image, or of each one of a batch."""
        width = self.config.num_classes if output == "logits" else self.config.embed_dim
        shape = (*self._rows(output), width)
        if not is_batch(images):
            out = np.empty((1, *shape), np.float32)
            self._forward([self.preprocess(cast("Picture", images))], out, output)
            return out[0]
        inputs = (self._member(index, image) for index, image in enumerate(images))
        at_once = self._native.images_at_once if self._native else 1
        out = np.empty((length_hint(images), *shape), np.float32)
        done = 0
        while part := list(islice(inputs, at_once)):
            end = done + len(part)
            if end > len(out):  # a generator does not know how many it gives
                out = np.concatenate([out, np.empty((end, *shape), np.float32)])
            self._forward(part, out[done:end], output)
            done = end
        return out[:done]

    def _rows(self, output: Output) -> tuple[int, ...]:
        """(L,) if there is a row of it for every token, else ()."""
        every = output == "tokens" or (
            self.config.reads_every_token
            and (output == "features" or self.config.final_pool_type == "all")
        )
        return (self.config.num_tokens,) if every else ()

    def _in_picture(self, tokens: np.ndarray) -> np.ndarray:
        """A view of the sequence's tokens (..., L, E), in the picture's order."""
        return tokens[..., ::-1, :] if self.config.flips_sequence else tokens

    def _member(self, index: int, image: Picture) -> np.ndarray:
        """One of a batch -> its normalised pixels."""
        with naming(f"images[{index}]"):
            return self.preprocess(image)

    def _forward(self, images: list[np.ndarray], out: np.ndarray, output: Output) -> None:
        """Images (3, H, W) -> what is asked for of each."""
        if self._native is not None:
            self._native.forward(images, out, output=output)
            return
        with self._threads_of_blas(), self._spares.one() as w:
            for image_out, pixels in zip(out, images, strict=True):
                self._forward_layers(pixels, w)
                if output == "tokens":
                    self._final_norm(w, slice(None), image_out)
                elif output == "features":
                    image_out[...] = self._pool(w)
                else:
                    image_out[...] = self._head(self._pool(w))

    def _threads_of_blas(self) -> AbstractContextManager[None]:
        """Within this, NumPy's products have as many threads as in a pass."""
        return blas.one_thread() if self._limits_blas else nullcontext()

    # ---- One image, from top to bottom ----------------------------------------------------------

    def _forward_layers(self, pixels: np.ndarray, w: Workspace) -> None:
        """One image (3, H, W) -> two terms of its tokens, w.residual and w.hidden: (L, E) each."""
        self._embed(pixels, w)  # w.residual: the tokens
        for index, (layer, *partner) in enumerate(self._parameters.blocks):
            self._rotate(w, is_first=index == 0)
            self._add_norm(w.residual, w.hidden if index else None, layer.norm, w.normed)
            self._mixer(layer, w, w.hidden)
            for flipped in partner:  # if_bidirectional: it reads the same tokens, backwards
                self._add_norm(w.residual, None, flipped.norm, w.normed)
                self._mixer(flipped, w, w.hidden_flipped)
                w.hidden += w.hidden_flipped

    def _embed(self, pixels: np.ndarray, w: Workspace) -> None:
        """Patches -> tokens, with class tokens and position embedding; pixels are (3, H, W)."""
        size, stride = self.config.patch_size, self.config.stride
        windows = sliding_window_view(pixels, (size, size), axis=(1, 2))[:, ::stride, ::stride]
        np.copyto(w.patches, windows.transpose(1, 2, 0, 3, 4))
        patches = w.patches.reshape(self.config.num_patches, -1)
        tokens = self._in_picture(w.residual)
        start = 0  # of a run of patches; `before` class tokens stand in front of it
        for before, stop in enumerate([*self.config.class_tokens.values(), len(tokens)]):
            np.matmul(
                patches[start - before : stop - before],
                self._parameters.patch_proj,
                out=tokens[start:stop],
            )
            tokens[stop : stop + 1] = 0  # a class token
            start = stop + 1
        tokens += self._parameters.token_offset

    def _rotate(self, w: Workspace, *, is_first: bool) -> None:
        """Rotary position embedding of a layer's input, where the network has it."""
        rotation = self._parameters.rotation
        if rotation is None:
            return
        if not is_first:
            rotation.apply(w.hidden, w.partners)
        if is_first or self.config.if_rope_residual:
            rotation.apply(w.residual, w.partners)

    def _mixer(self, layer: Layer, w: Workspace, out: np.ndarray) -> None:
        """The bidirectional block: w.normed (L, E) -> out (L, E)."""
        self._in_proj(layer, w)
        self._convolve(layer, w)
        for parameters, d in zip(layer.directions, w.computed, strict=False):
            self._x_proj(parameters, d)
            self._dt_proj(parameters, d)
        self._scan(layer, w)
        self._out_proj(layer, w, out)

    def _in_proj(self, layer: Layer, w: Workspace) -> None:
        """w.normed (L, E) -> w.x and w.z, (L, Dn) each."""
        np.matmul(w.normed, layer.in_proj, out=w.xz)

    def _convolve(self, layer: Layer, w: Workspace) -> None:
        """w.x -> u of each direction, (L, Dn)."""
        computed = layer.directions[: len(w.computed)]  # in "v1" both directions have the same
        kernels.causal_conv1d(
            layer.in_time(w.x),
            tuple(Filter(p.conv_weight, p.conv_bias) for p in computed),
            tuple(layer.in_time(d.u) for d in w.computed),
            silu=True,
            num_threads=self.num_threads,
            chosen=self._operations,
        )

    def _x_proj(self, parameters: DirectionParameters, d: DirectionSpace) -> None:
        """d.u (L, Dn) -> d.dt (L, R), d.B and d.C (L, N)."""
        np.matmul(d.u, parameters.x_proj, out=d.x_dbl)

    def _dt_proj(self, parameters: DirectionParameters, d: DirectionSpace) -> None:
        """d.dt (L, R) -> d.delta (L, Dn), before bias and softplus."""
        np.matmul(d.dt, parameters.dt_proj, out=d.delta)

    def _scan(self, layer: Layer, w: Workspace) -> None:
        """All directions, summed and gated: (L, Dn) -> w.y (L, Dn)."""
        kernels.selective_scan(
            tuple(
                d.scan_inputs(layer, parameters)
                for parameters, d in zip(layer.directions, w.directions, strict=True)
            ),
            layer.in_time(w.z),
            layer.in_time(w.y),
            delta_softplus=True,
            if_divide_out=self.config.halves_directions,
            method=self.scan,
            num_threads=self.num_threads,
            chosen=self._operations,
        )

    def _out_proj(self, layer: Layer, w: Workspace, out: np.ndarray) -> None:
        """w.y (L, Dn) -> out (L, E)."""
        np.matmul(w.y, layer.out_proj, out=out)

    def _pool(self, w: Workspace) -> np.ndarray:
        """Class tokens, the last token or the mean of all, after the final norm: (E,).

        Where the head reads every token, all of them: (L, E).
        """
        rows = self.config.pooled_tokens
        if rows is None:
            self._final_norm(w, slice(None), w.normed)
            return w.normed if self.config.reads_every_token else w.normed.mean(axis=0)
        for row in rows:  # the norm needs no other token
            one = slice(row, row + 1)
            self._final_norm(w, one, w.normed[one])
        return np.mean([w.normed[row] for row in rows], axis=0)

    def _final_norm(self, w: Workspace, rows: slice, out: np.ndarray) -> None:
        """These tokens after the last layer -> out (tokens, E)."""
        self._add_norm(w.residual[rows], w.hidden[rows], self._parameters.norm_f, out)

    def _add_norm(
        self, residual: np.ndarray, hidden: np.ndarray | None, norm: Norm, normed: np.ndarray
    ) -> None:
        """residual += hidden where there is one, and its norm into `normed`; all (tokens, E)."""
        kernels.fused_add_norm(
            residual,
            hidden,
            norm.weight,
            norm.bias,
            normed,
            epsilon=norm.epsilon,
            num_threads=self.num_threads,
            chosen=self._operations,
        )

    def _head(self, features: np.ndarray) -> np.ndarray:
        """Logits (classes,), or (L, classes) if there are some for every token."""
        logits: np.ndarray = features @ self._parameters.head
        logits += self._parameters.head_bias
        # Without a class token and with this pooling, the features are every token's.
        return logits.max(axis=0) if self.config.final_pool_type == "max" else logits


class VimTiny(VisionMamba):
    """Vim-tiny: embed_dim 192, 24 layers, 7.1 million parameters at 1,000 classes."""

    variant = VIM_TINY


class VimSmall(VisionMamba):
    """Vim-small: embed_dim 384, 24 layers."""

    variant = VIM_SMALL


class VimBase(VisionMamba):
    """Vim-base: embed_dim 768, 24 layers."""

    variant = VIM_BASE
