"""Numbers of what was done, in Prometheus' text format."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable

from vimnp.version import __version__

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Labels = tuple[tuple[str, str], ...]


class Counter:
    """A number that grows, by labels.

    Parameters
    ----------
    name, help : str
    """

    def __init__(self, name: str, help: str) -> None:
        self.name, self.help = name, help
        self._values: dict[Labels, float] = defaultdict(float)

    def add(self, amount: float = 1, **labels: str) -> None:
        """Let it grow."""
        self._values[tuple(labels.items())] += amount

    def lines(self) -> list[str]:
        """As Prometheus reads it."""
        values = [f"{self.name}{_braced(at)} {value:g}" for at, value in self._values.items()]
        return [*_head(self.name, self.help, "counter"), *values]


class Histogram:
    """How often something took how many seconds, by labels.

    Parameters
    ----------
    name, help : str
    """

    def __init__(self, name: str, help: str) -> None:
        self.name, self.help = name, help
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = defaultdict(float)

    def observe(self, seconds: float, **labels: str) -> None:
        """Note one."""
        at = tuple(labels.items())
        counts = self._counts.setdefault(at, [0] * (len(_SECONDS) + 1))
        counts[sum(bound < seconds for bound in _SECONDS)] += 1
        self._sums[at] += seconds

    def lines(self) -> list[str]:
        """As Prometheus reads it."""
        found = _head(self.name, self.help, "histogram")
        for at, counts in self._counts.items():
            total = 0
            for bound, count in zip([*map(str, _SECONDS), "+Inf"], counts, strict=True):
                total += count
                found.append(f"{self.name}_bucket{_braced((*at, ('le', bound)))} {total}")
            found.append(f"{self.name}_sum{_braced(at)} {self._sums[at]:.6f}")
            found.append(f"{self.name}_count{_braced(at)} {total}")
        return found


class Metrics:
    """All that a server counts."""

    def __init__(self) -> None:
        self.requests = Counter("vimnp_requests_total", "Requests, by path and status.")
        self.seconds = Histogram("vimnp_request_duration_seconds", "From head to end of answer.")
        self.batches = Counter("vimnp_batches_total", "Passes of pictures through a network.")
        self.pictures = Counter("vimnp_batched_images_total", "Pictures in these passes.")
        self.tokens = Counter("vimnp_tokens_total", "Tokens that were read and written.")
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._started = time.time()

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """A number that is looked at when it is asked for."""
        self._gauges[name] = help, read

    def text(self) -> str:
        """All of them, as Prometheus reads them."""
        of_all = (self.requests, self.seconds, self.batches, self.pictures, self.tokens)
        found = [line for each in of_all for line in each.lines()]
        for name, (help, read) in self._gauges.items():
            found += [*_head(name, help, "gauge"), f"{name} {read():g}"]
        info = _braced((("version", __version__),))
        found += [*_head("vimnp_info", "What answers.", "gauge"), f"vimnp_info{info} 1"]
        name = "process_start_time_seconds"
        found += [*_head(name, "Since 1970.", "gauge"), f"{name} {self._started:.3f}"]
        if (resident := _resident_bytes()) is not None:
            name = "process_resident_memory_bytes"
            found += [*_head(name, "Memory that is in use.", "gauge"), f"{name} {resident}"]
        return "\n".join(found) + "\n"


def _head(name: str, help: str, kind: str) -> list[str]:
    return [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]


def _braced(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _resident_bytes() -> int | None:
    """What the process has in memory; None where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
