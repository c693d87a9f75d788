"""Vision Mamba as users call it."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_args

import numpy as np

from vimnp.counts import checked_count
from vimnp.errors import ConfigError
from vimnp.models.classes import class_index
from vimnp.models.ranking import best_first
from vimnp.models.vim import parameters
from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.outputs import Kind, Layers, Output, shape_of
from vimnp.models.vim.published import VIM_BASE, VIM_SMALL, VIM_TINY
from vimnp.models.vision import VisionModel
from vimnp.weights.family import ReadTensor

if TYPE_CHECKING:
    from vimnp.engine.costs import Cost
    from vimnp.engine.network import Network
    from vimnp.engine.packing import PackMatrix
    from vimnp.images.preprocessing import Picture
    from vimnp.models.vim.explain import Explanation, Subject
    from vimnp.models.vision import Pictures


class VisionMamba(VisionModel):
    """A Vision Mamba (hustvl/Vim, ``VisionMamba`` in ``vim/models_mamba.py``) at inference.

    The network is that of Zhu et al., "Vision Mamba: Efficient Visual Representation Learning with
    Bidirectional State Space Model", 2024. Shapes: B pictures, L tokens, E channels of a token,
    h and w patches down and across, H and W pixels.

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
    precision : {"float32", "int8"}, optional
        What the large matrices are multiplied in. In "int8" they have a scale for each output, and
        each token is rounded to whole numbers of 8 bits, with a scale of its own, before it is
        multiplied; all else is float32. None stands for "int8" where the weights are stored so,
        and else for "float32". Weights that are stored as floats are rounded when the model is
        made, without the smoothing that ``vimnp convert --dtype int8`` adds.

    Attributes
    ----------
    config : VimConfig
        Sizes and options of the network.
    metadata : vimnp.weights.Metadata
        What the weights file says of itself.
    backend : {"numpy", "native"}
        The one that runs.
    scan : {"fused", "sequential", "fixlen", "fused_fixlen"}
        The mode in which it scans.
    num_threads : int
        The most that it uses. Like the backend, the instruction set (``VIMNP_ISA``) and what is
        forced into NumPy, it is decided when the model is made: no later change of the environment
        changes a model.

    Raises
    ------
    ConfigError
        If the scan mode, the number of threads, the backend or the precision means nothing, the
        backend lacks the scan mode or its kernels, or the sizes are not those of this class.
    TypeError
        If there are no `metadata` or no `read`.

    Examples
    --------
    >>> model = vimnp.VisionMamba.random(num_threads=1)  # of Vim-tiny's sizes
    >>> pixels = np.zeros((3, 224, 224), np.float32)  # normalised already
    >>> model(pixels).shape, model.features(pixels).shape, model.feature_map(pixels).shape
    ((1000,), (192,), (192, 14, 14))
    """

    configuration = VimConfig

    variant: ClassVar[VimConfig | None] = None
    """The sizes that a named network must have."""

    config: VimConfig

    def __repr__(self) -> str:
        config = self.config
        height, width = config.img_size
        head = f"{config.num_classes} classes" if config.num_classes else "no head"
        return (
            f"{type(self).__name__}({height}x{width} pixels, {config.num_tokens} tokens, "
            f"embed_dim {config.embed_dim}, depth {config.depth}, {head}; "
            f"{self.runs})"
        )

    def forward_features(self, images: Pictures) -> np.ndarray:
        """Compute every token after the final norm, for use as a backbone.

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

        Raises
        ------
        ImageError
            As for calling the model.
        """
        return self._forward_all(images, "tokens")

    def feature_map(self, images: Pictures) -> np.ndarray:
        """Compute the patches' tokens after the final norm, where they lie in the picture.

        Parameters
        ----------
        images
            As for calling the model.

        Returns
        -------
        ndarray of float32, shape (E, h, w), or (B, E, h, w) for a batch or a list
            h and w are ``config.grid_size``.

        Raises
        ------
        ImageError
            As for calling the model.

        Examples
        --------
        >>> model = vimnp.load("digits", num_threads=1)
        >>> model.feature_map("tests/data/digit_3_45.png").shape
        (64, 4, 4)
        """
        return self._maps(self.forward_features(images))

    def _maps(self, tokens: np.ndarray) -> np.ndarray:
        """The sequence's tokens (..., L, E) -> the patches', where they lie, (..., E, h, w)."""
        tokens = self._in_picture(tokens)
        patches = np.delete(tokens, list(self.config.class_tokens.values()), axis=-2)
        grid = patches.reshape(*tokens.shape[:-2], *self.config.grid_size, tokens.shape[-1])
        return np.ascontiguousarray(np.moveaxis(grid, -1, -3))

    def intermediate_features(
        self,
        images: Pictures,
        layers: Iterable[int],
        *,
        kind: Kind = "hidden",
        as_maps: bool = False,
    ) -> np.ndarray:
        """Compute every token after some layers, before the last norm, as detectors read them.

        Parameters
        ----------
        images
            As for calling the model.
        layers : iterable of int
            Indices of layers, from 0. Where layers go in pairs (``if_bidirectional``), of the
            second of a pair: 1, 3 and so on.
        kind : {"hidden", "residual"}
            What a layer adds to the residual stream (as the original's segmentation backbone has
            it by default), or the stream itself with that added, as the next norm reads it
            (``use_residual_as_feature``).
        as_maps : bool
            Where the patches' tokens lie in the picture, without class tokens.

        Returns
        -------
        ndarray of float32, shape (layers, L, E), or (B, layers, L, E) for a batch or a list
            In the order of the sequence. With `as_maps` (layers, E, h, w), or (B, layers, E, h, w).

        Raises
        ------
        ConfigError
            If there is no such layer, it is named twice, or `kind` is none of these.
        ImageError
            As for calling the model.
        """
        asked = Layers(self._checked_kind(kind), self._checked_layers(layers))
        found = self._forward_all(images, asked)
        if self.config.if_bidirectional:  # the residual here does not double as the original's does
            doublings = np.array(asked.layers)[:, None, None] // 2 + 1
            np.ldexp(found, doublings, out=found)
        return self._maps(found) if as_maps else found

    def _checked_kind(self, kind: str) -> Kind:
        if kind not in get_args(Kind):
            raise ConfigError(f"kind is {kind!r}; expected one of {get_args(Kind)}")
        return cast("Kind", kind)

    def _checked_layers(self, layers: Iterable[int]) -> tuple[int, ...]:
        last = self.config.num_active_layers - 1
        found = tuple(checked_count("layers", layer, last, least=0) for layer in layers)
        if not found or len(set(found)) < len(found):
            raise ConfigError(f"layers is {found}; expected one or more, each once")
        if self.config.if_bidirectional and any(layer % 2 == 0 for layer in found):
            raise ConfigError(
                f"layers is {found} in a network whose layers go in pairs; expected the second of "
                "a pair each: 1, 3 and so on"
            )
        return found

    # ---- Why it says so -------------------------------------------------------------------------

    def explain(self, image: Picture, target: int | str | None = None) -> Explanation:
        """Explain a class: what each patch contributes to it, exactly, through every layer's scans.

        Parameters
        ----------
        image : PIL.Image.Image, path-like, binary file, or array (dtypes, shapes: see calling)
            A single picture, as calling the model takes it.
        target : int or str, optional
            The class, by its index, its label, or one of the names in its label, as in "tabby"
            for "tabby, tabby cat"; by default the likeliest one.

        Returns
        -------
        Explanation
            Its ``map`` is an array (h, w) of logits: where it is above 0, patches speak for the
            class. See :mod:`vimnp.models.vim.explain` for how it is found.

        Raises
        ------
        ConfigError
            If there is no such class, or several have the name; or if the network has no head,
            logits for every token, rotary position embedding (``if_rope``), or precision "int8".
        ImageError
            As for calling the model.

        Examples
        --------
        >>> model = vimnp.load("digits", num_threads=1)
        >>> why = model.explain("tests/data/digit_3_45.png", "3")
        >>> why.label, why.map.shape
        ('3', (4, 4))
        >>> bool(np.isclose(why.map.sum() + why.rest, why.score))
        True
        """
        from vimnp.models.vim import explain

        explain.expect_linear_products(self.precision)
        explain.expect_unrotated(self.config)
        self._expect_classes()
        subject = self._subject(image)
        logits = self._forward_inputs([subject.pixels], 1, "logits")[0]
        if target is None:
            index = int(best_first(logits)[0])
        else:
            index = class_index(target, self.labels, self.config.num_classes)
        last = Layers("residual", (self.config.num_active_layers - 1,))
        stream = self._forward_inputs([subject.pixels], 1, last)[0, 0]
        reading = explain.reading_of(subject, stream, index)
        of_tokens, rest = explain.contributions(subject, reading)
        of_patches = self._maps(of_tokens)
        return explain.Explanation(
            index=index,
            label=self.labels[index] if self.labels else None,
            score=float(logits[index] - logits.mean(dtype=np.float64)),
            contributions=of_patches,
            rest=rest + float(of_tokens.sum(dtype=np.float64) - of_patches.sum(dtype=np.float64)),
        )

    def hidden_attention(self, image: Picture) -> np.ndarray:
        """Show where each layer finds what it adds to the tokens that the head reads.

        It is the hidden attention of Ali, Zimerman & Wolf, "The Hidden Attention of Mamba Models",
        2024.

        Parameters
        ----------
        image : PIL.Image.Image, path-like, binary file, or array (dtypes, shapes: see calling)
            A single picture, as calling the model takes it.

        Returns
        -------
        ndarray of float32, shape (layers, h, w)
            The patches' shares, of absolute values in the sum over channels. With those of the
            class tokens, which are left out, a layer's sum is 1.

        Raises
        ------
        ConfigError
            If the head reads every token, or their mean, or the precision is "int8".
        ImageError
            As for calling the model.
        """
        from vimnp.models.vim import explain

        explain.expect_linear_products(self.precision)
        if self.config.pooled_tokens is None:
            raise ConfigError(
                "the head of this network reads all tokens; expected one that reads a class token, "
                "or the last one, whose attention can be shown"
            )
        return self._maps(explain.hidden_attention(self._subject(image)))

    def step_sizes(self, image: Picture) -> np.ndarray:
        """Show how large the scans' steps are, delta: how much of each patch goes into the states.

        Parameters
        ----------
        image : PIL.Image.Image, path-like, binary file, or array (dtypes, shapes: see calling)
            A single picture, as calling the model takes it.

        Returns
        -------
        ndarray of float32, shape (layers, h, w)
            The mean over channels and directions. A step has no unit.

        Raises
        ------
        ImageError
            As for calling the model.
        """
        from vimnp.models.vim import explain

        return self._maps(explain.mean_step_sizes(self._subject(image)))

    def _subject(self, image: Picture) -> Subject:
        from vimnp.models.vim.explain import Subject

        pixels = self.preprocess(image)
        plain = self._network.plain()
        return Subject(self.config, plain, self._lay_out, self.num_threads, pixels)

    # ---- What the class says of itself to VisionModel -------------------------------------------

    def _load(self, read: ReadTensor, pack: PackMatrix[Any]) -> Any:
        return parameters.load_parameters(self.config, read, pack)

    def _lay_out(self, plain: Any, pack: PackMatrix[Any]) -> Any:
        return parameters.lay_out(self.config, plain, pack)

    def _make_network(self, load: parameters.Load, num_threads: int) -> Network:
        # Each backend's modules load where it runs: every process would pay for both.
        if self.backend == "numpy":
            from vimnp.models.vim.network import NumpyVim

            return NumpyVim(self.config, load, num_threads, self.scan)
        from vimnp.engine.compiled import CompiledNetwork
        from vimnp.models.vim.program import build

        build_it = functools.partial(build, self.config)
        return CompiledNetwork(load, build_it, self.config.d_inner, num_threads)

    def _shape_of(self, output: Hashable) -> tuple[int, ...]:
        return shape_of(self.config, cast("Output", output))

    @classmethod
    def _resized(
        cls, config: VimConfig, read: ReadTensor, img_size: int | tuple[int, int]
    ) -> tuple[VimConfig, ReadTensor]:
        from vimnp.models.vim.resize import resized

        return resized(config, read, img_size)

    @classmethod
    def _default_config(cls) -> VimConfig:
        return cls.variant or VIM_TINY

    def costs(self) -> dict[str, Cost]:
        """Count what a picture's logits take, by operation.

        Returns
        -------
        dict of str to vimnp.costs.Cost
            Arithmetic, exponentials and bytes of each operation, by the name that a profile has.
        """
        from vimnp.models.vim.program import operation_costs

        return operation_costs(self.config, self.backend, self.precision)

    def _facts(self) -> dict[str, str]:
        config = self.config
        rows, columns = config.grid_size
        return {
            "patches": f"{rows}x{columns} of {config.patch[0]}x{config.patch[1]} pixels, "
            f"{config.stride} pixels apart",
            "tokens": f"{config.num_tokens:,}, {len(config.class_tokens)} of them class tokens",
            "layers": f"{config.depth}, embed_dim {config.embed_dim}, d_inner {config.d_inner}, "
            f"d_state {config.d_state}",
        }

    @classmethod
    def _check_variant(cls, config: VimConfig) -> None:
        if cls.variant is None:
            return
        for name in ("embed_dim", "depth", "d_state"):
            found, expected = getattr(config, name), getattr(cls.variant, name)
            if found != expected:
                raise ConfigError(
                    f"these weights have {name} {found}; {cls.__name__} has {expected}: "
                    "load them with VisionMamba"
                )

    def _in_picture(self, tokens: np.ndarray) -> np.ndarray:
        """A view of the sequence's tokens (..., L, E), in the picture's order."""
        return tokens[..., ::-1, :] if self.config.flips_sequence else tokens


class VimTiny(VisionMamba):
    """Vim-tiny (Zhu et al. 2024): embed_dim 192, 24 layers, 7.1 million parameters.

    It has so many with 1,000 classes. Parameters, attributes, methods and errors are those of
    :class:`vimnp.VisionMamba`; weights of other sizes are a ConfigError.

    Examples
    --------
    >>> model = vimnp.VimTiny.random(num_threads=1)
    >>> model.num_parameters
    7148008
    >>> model.config.grid_size, model.config.num_tokens
    ((14, 14), 197)
    """

    variant = VIM_TINY


class VimSmall(VisionMamba):
    """Vim-small (Zhu et al. 2024): embed_dim 384, 24 layers.

    Parameters, attributes, methods and errors are those of :class:`vimnp.VisionMamba`; weights of
    other sizes are a ConfigError.
    """

    variant = VIM_SMALL


class VimBase(VisionMamba):
    """Vim-base (Zhu et al. 2024): embed_dim 768, 24 layers.

    Parameters, attributes, methods and errors are those of :class:`vimnp.VisionMamba`; weights of
    other sizes are a ConfigError.
    """

    variant = VIM_BASE
