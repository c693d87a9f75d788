"""Stop strings in a text that comes in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vimnp.errors import ConfigError

_MOST = 64


class StopStrings:
    """Gives a text on, up to the first stop string in it.

    What may be the beginning of a stop string is held back until it is one, or is none. The stop
    string that is complete first counts, and of several that end together the longest: so it does
    not matter how the text is cut into pieces.

    Parameters
    ----------
    stops : sequence of str
        As :func:`checked_stops` gives them.

    Attributes
    ----------
    found : str or None
        The stop string that ended the text.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found: str | None = None

    def push(self, piece: str) -> str:
        """What of the text is certain to come before any stop string, and was not given yet."""
        text = self._held + piece
        if self.found is not None or not piece:
            return ""
        ends = [(text.find(stop) + len(stop), -len(stop), stop) for stop in self._stops]
        ends = [end for end in ends if end[0] >= len(end[2])]
        if ends:
            end, _, self.found = min(ends)
            self._held = ""
            return text[: end - len(self.found)]
        kept = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[kept:]
        return text[:kept]

    def finish(self) -> str:
        """What was held back, where no more comes."""
        held, self._held = self._held, ""
        return held


def checked_stops(stop: str | Iterable[str] | None) -> tuple[str, ...]:
    """Stop strings, as a user gives one or several.

    Raises
    ------
    ConfigError
        If one is empty, which is in every text, or no text; or if there are too many.
    """
    if stop is None:
        return ()
    try:
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
    except TypeError:
        raise ConfigError(f"stop is {stop!r}; expected text, or a list of texts") from None
    for each in stops:
        if not isinstance(each, str) or not each:
            raise ConfigError(
                f"stop has {each!r}; expected texts of one character or more: an empty one is "
                "everywhere"
            )
    if len(stops) > _MOST:
        raise ConfigError(f"stop has {len(stops)} texts; expected at most {_MOST}")
    return stops


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of a text that a stop string begins with, but is not."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
