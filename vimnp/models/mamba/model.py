"""The Mamba language model: load a weights file, call it on tokens, or have it write."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from vimnp.models.language import Kind, LanguageModel
from vimnp.models.mamba import parameters
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.mamba.outputs import Output, shape_of
from vimnp.weights.family import ReadTensor

if TYPE_CHECKING:
    from vimnp.engine.costs import Cost
    from vimnp.engine.network import Network
    from vimnp.engine.packing import PackMatrix


class MambaLM(LanguageModel):
    """A Mamba language model (state-spaces/mamba, ``MambaLMHeadModel``) at inference.

    The network is that of Gu & Dao, "Mamba: Linear-Time Sequence Modeling with Selective State
    Spaces", 2023. Made by :meth:`from_npz` or :meth:`random`. One model may be called from several
    threads at once; a state is for one pass at a time.

    A model can be pickled, and loaded by the same version of vimnp, on a machine of another kind
    too. A copy, a deep one too, shares the weights, which nothing writes.

    Parameters
    ----------
    metadata : vimnp.weights.Metadata
        Configuration and tokenizer.
    read : callable
        Gives each tensor by its name in the PyTorch state dict.
    dtype : {"float32", "bfloat16", "int8", "int4"}, optional
        How matrices are stored, where that is to be another way than in the file. What needs more
        bits has them: the head and the embedding are int8 where all else is int4.
    num_threads : int, optional
        Threads of the compiled kernels; see :func:`vimnp.threads.resolve_num_threads`. The "numpy"
        backend's matrix products have one thread each, as :class:`vimnp.VisionMamba`'s.
    backend : {"auto", "numpy", "native"}, optional
        Whether NumPy multiplies the matrices, or the whole network runs in one compiled parallel
        region, which is faster. "auto" is "native" where the kernels are there and nothing is
        forced into NumPy. None stands for ``VIMNP_BACKEND``, or without it for "auto".
    tokenizer_text : str, optional
        The content of ``tokenizer.json``, where the metadata say that there is one.
    checksums : mapping of str to int, optional
        Of every tensor, where they are known: a file has them. Others are computed.

    Attributes
    ----------
    config : MambaConfig
        Sizes and options of the network.
    metadata : vimnp.weights.Metadata
        What the weights file says of itself.
    tokenizer : vimnp.text.protocol.TextCodec or None
        Makes ids of a text, and text of ids.
    backend : {"numpy", "native"}
        The one that runs.
    num_threads : int
        The most that it uses.
    digest : str
        Tells these weights from others.

    Raises
    ------
    ConfigError
        If the number of threads, the dtype or the backend means nothing, the backend lacks its
        kernels, or the weights are of another family.
    TypeError
        If there are no `metadata` or no `read`.

    Examples
    --------
    >>> config = vimnp.MambaConfig(d_model=16, n_layer=2, vocab_size=256)
    >>> model = vimnp.MambaLM.random(config, tokenizer="bytes", num_threads=1)
    >>> model(model.tokenizer.encode("Hello")).shape  # logits after each of five bytes
    (5, 256)
    """

    configuration = MambaConfig

    config: MambaConfig

    def __repr__(self) -> str:
        config = self.config
        return (
            f"{type(self).__name__}(d_model {config.d_model}, {config.n_layer} layers, "
            f"{config.vocab_size} ids, {self.dtype}; {self.way})"
        )

    # ---- What the class says of itself to LanguageModel -----------------------------------------

    def _load(self, read: ReadTensor, pack: PackMatrix[Any]) -> Any:
        return parameters.load_parameters(self.config, read, pack)

    def _lay_out(self, plain: Any, pack: PackMatrix[Any]) -> Any:
        return parameters.lay_out(self.config, plain, pack, self.dtype)

    def _make_network(self, load: parameters.Load, num_threads: int) -> Network:
        # Each backend's modules load where it runs: every process would pay for both.
        if self.backend == "numpy":
            from vimnp.models.mamba.network import NumpyMamba

            return NumpyMamba(self.config, load, num_threads, self.scan)
        from vimnp.engine.compiled import CompiledNetwork
        from vimnp.models.mamba.program import build

        build_it = functools.partial(build, self.config)
        return CompiledNetwork(load, build_it, self.config.d_inner, num_threads)

    def _output(self, kind: Kind, batch: int, length: int) -> Output:
        return Output(kind, batch, length)

    def _shape_of(self, output: Hashable) -> tuple[int, ...]:
        return shape_of(self.config, cast("Output", output))

    def costs(self, length: int = 1) -> dict[str, Cost]:
        """Count what the logits after so many tokens take, by operation of the native backend.

        Parameters
        ----------
        length : int
            Tokens of a sequence: 1 is the next token of a text, more are a prompt.

        Returns
        -------
        dict of str to vimnp.costs.Cost
            Arithmetic, exponentials and bytes of each operation, by the name that a profile has.
            Matrices have the bytes that they have in memory.
        """
        from vimnp.engine.compiled import CompiledNetwork
        from vimnp.engine.packing import sizes_only
        from vimnp.models.mamba.program import build

        output = Output("last", 1, length)
        if isinstance(self._network, CompiledNetwork):
            return self._network.described(output).costs

        def nothing(name: str) -> np.ndarray:
            return np.broadcast_to(np.float32(0), shapes[name])

        shapes = self.config.parameter_shapes()
        weights = parameters.load_parameters(self.config, nothing, sizes_only)
        return build(self.config, weights, output).costs

    def _facts(self) -> dict[str, str]:
        config = self.config
        return {
            "layers": f"{config.n_layer}, d_model {config.d_model}, d_inner {config.d_inner}, "
            f"d_state {config.d_state}",
        }
