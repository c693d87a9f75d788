"""What every network's class offers, whatever it takes: how it runs, pickles and copies."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from vimnp.engine.settings import Backend, Scan, Way, asked_backend, resolve_backend
from vimnp.errors import ConfigError, WeightsError
from vimnp.ops.modes import SCAN_MODES
from vimnp.runtime.threads import resolve_num_threads
from vimnp.version import __version__
from vimnp.weights.by_name import find_weights
from vimnp.weights.family import Configuration, ReadTensor
from vimnp.weights.metadata import Metadata

if TYPE_CHECKING:
    from vimnp.engine.network import Network


class OtherFamilyError(ConfigError):
    """Weights are of another family than the class's networks.

    Parameters
    ----------
    family : str
        Theirs.
    message : str
    """

    def __init__(self, family: str, message: str) -> None:
        super().__init__(message)
        self.family = family


def stored_as(settings: Mapping[str, Any]) -> str | None:
    """What weights are stored as that are fetched for these settings; None for the usual."""
    found: str | None = settings.get("dtype") or settings.get("precision")
    return found


class Model:
    """A network with its weights, on one of the backends.

    Parameters
    ----------
    metadata : vimnp.weights.Metadata
    read : callable
        Gives each tensor by its name in the PyTorch state dict.
    scan : str
    num_threads : int, optional
    backend : {"auto", "numpy", "native"}, optional

    Raises
    ------
    ConfigError
        If the scan mode, the number of threads or the backend means nothing, the backend lacks
        the scan mode or its kernels, or the network is none of this class.
    TypeError
        If there are no `metadata` or no `read`.
    """

    configuration: ClassVar[type[Configuration]]
    """That of the class's networks."""

    scans: ClassVar[tuple[str, ...]] = SCAN_MODES
    """The modes that the class's networks can scan in."""

    _settled: ClassVar[frozenset[str]] = frozenset({"num_threads", "backend", "_network"})
    """Attributes that are decided, and made, where a model is to run."""

    _network: Network

    def __init__(
        self,
        metadata: Metadata | None = None,
        read: ReadTensor | None = None,
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
        self._expect_scan(scan)
        self._check_config(metadata.config)
        self.metadata = metadata
        self.config = metadata.config
        self.scan = scan
        resolve_backend(backend, scan)  # an error then names where the backend comes from
        self._asked_backend, self._asked_threads = asked_backend(backend), num_threads
        self._settle(functools.partial(self._load, read))

    def _settle(self, load: Any) -> None:
        """Decide how to run here, and get the parameters in the layout for that."""
        self.backend = resolve_backend(self._asked_backend, self.scan)
        self._network = self._make_network(load, resolve_num_threads(self._asked_threads))
        self.num_threads = self._network.num_threads

    # ---- What a family's class says of itself ---------------------------------------------------

    def _load(self, read: ReadTensor, pack: Any) -> Any:
        """The family's parameters from tensors, with the matrices laid out by `pack`."""
        raise NotImplementedError

    def _lay_out(self, plain: Any, pack: Any) -> Any:
        """The same from parameters in no backend's layout."""
        raise NotImplementedError

    def _make_network(self, load: Any, num_threads: int) -> Network:
        """The family's network on the backend that was decided on."""
        raise NotImplementedError

    @classmethod
    def _check_config(cls, config: Configuration) -> None:
        """Raise ConfigError if this class has no such networks, or none of these sizes."""
        cls._check_family(config)
        cls._check_variant(config)

    @classmethod
    def _check_variant(cls, config: Any) -> None:
        """Raise ConfigError if these are not the sizes of this class."""

    @classmethod
    def _expect_scan(cls, scan: str) -> None:
        if scan not in cls.scans:
            raise ConfigError(f"scan is {scan!r}; expected one of {cls.scans}")

    @classmethod
    def _check_family(cls, config: Configuration) -> None:
        """Raise ConfigError if this class has no such networks."""
        if type(config) is not cls.configuration:
            family = config.family.name
            raise OtherFamilyError(
                family,
                f"these weights are of the family {family!r}, which {cls.__name__} does not have: "
                "load them with vimnp.load",
            )

    # ---- Weights by name ------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        revision: str | None = None,
        file: str | None = None,
        refresh: bool = False,
        **settings: Any,
    ) -> Self:
        """Load published weights by their name; the first time they are fetched and converted.

        What was fetched once is found in the cache, without a connection. Fetching takes the extra
        ``hub``.

        Parameters
        ----------
        name : str
            A published network's, as "vim-tiny"; "owner/repository" on the Hugging Face Hub; or
            "hf://owner/repository@revision/file". See :func:`vimnp.hub.find_weights`.
        revision : str, optional
            A branch, a tag or a commit; by default "main".
        file : str, optional
            Which of several checkpoints in the repository.
        refresh : bool
            Ask for a newer version than the cache's.
        **settings : optional
            By name, what ``from_npz`` of the class takes beside the path. With the precision, or
            of a language model the dtype, "int8" the weights are converted to that, and kept beside
            others.

        Raises
        ------
        HubError
            If the name means nothing, or the weights cannot be fetched.
        WeightsError, ConfigError
            As for ``from_npz``.
        OSError
            If the cache cannot be written.
        """
        path = find_weights(
            name,
            dtype=stored_as(settings),
            revision=revision,
            file=file,
            refresh=refresh,
            check=cls._check_config,
        )
        loaded: Self = cls.from_npz(path, **settings)  # type: ignore[attr-defined]
        return loaded

    # ---- Pickles and copies ---------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """What was given, the user's own attributes, and the parameters in no backend's layout."""
        state = {name: value for name, value in self.__dict__.items() if name not in self._settled}
        state["_version"] = __version__
        state["_plain"] = self._network.plain()
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
        self._settle(functools.partial(self._lay_out, plain))

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        other = memo[id(self)] = copy.copy(self)
        for name, value in self.__dict__.items():
            if name not in self._settled:
                other.__dict__[name] = copy.deepcopy(value, memo)
        return other

    # ---- How it runs ----------------------------------------------------------------------------

    def _with_settings(self, scan: Scan | None, num_threads: int | None) -> Self:
        """The same network, on the same weights in memory, run in another way."""
        other = copy.copy(self)
        if scan is not None:
            self._expect_scan(scan)
            resolve_backend(self.backend, scan)
            other.scan, other._asked_backend = scan, self.backend
        if num_threads is not None:
            other._asked_threads = num_threads
        other._network = self._network.with_settings(
            scan=other.scan,
            num_threads=self.num_threads
            if num_threads is None
            else resolve_num_threads(num_threads),
        )
        other.num_threads = other._network.num_threads
        return other

    @property
    def way(self) -> Way:
        """How this model runs: its backend, scan, num_threads and instruction_set."""
        instruction_set = self._network.instruction_set
        return Way(self.backend, self.scan, self.num_threads, instruction_set)

    @property
    def runs(self) -> str:
        """How this model runs, in words."""
        return str(self.way)

    @property
    def num_parameters(self) -> int:
        """Weights of the network, as PyTorch counts them."""
        return self.config.num_parameters

    @property
    def _bytes_in_memory(self) -> int:
        """Of the weights."""
        return 4 * self.num_parameters

    def _summary(self, facts: dict[str, str]) -> str:
        """These facts, how many parameters there are, and how it runs, a line each."""
        facts = {
            **facts,
            "parameters": f"{self.num_parameters:,}, "
            f"{self._bytes_in_memory / 1e6:.1f} MB in memory",
            "runs": self.runs,
        }
        lines = [f"  {name:<11} {fact}" for name, fact in facts.items()]
        return "\n".join([type(self).__name__, *lines])
