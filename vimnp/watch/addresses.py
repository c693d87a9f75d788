"""The address of a camera, apart from the password in it."""

from __future__ import annotations

import dataclasses
import urllib.parse

from vimnp.errors import ConfigError

SCHEMES = ("http", "https", "rtsp", "rtsps")


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a camera is in a network.

    Parameters
    ----------
    scheme : str
        One of :data:`SCHEMES`.
    given : str
        As it was given, with user and password.
    url : str
        Without them.
    user, password : str, optional
    """

    scheme: str
    given: str
    url: str
    user: str | None
    password: str | None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.url

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may repeat, the longest first."""
        userinfo = self.given.partition("://")[2].rpartition("@")[0]
        return tuple(filter(None, (userinfo, userinfo.partition(":")[2], self.password)))


def parse_address(text: str) -> Address:
    """The parts of a camera's address.

    Raises
    ------
    ConfigError
        If it is no address of a camera.
    """
    try:
        parts = urllib.parse.urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in SCHEMES or not text.isprintable() or " " in text:
        raise ConfigError(
            f"--camera: no address of a camera; expected {'://, '.join(SCHEMES)}:// and a host, "
            "as in http://camera.local/stream"
        )
    userinfo, _, place = parts.netloc.rpartition("@")
    user, colon, password = userinfo.partition(":")
    return Address(
        scheme=parts.scheme,
        given=text,
        url=parts._replace(netloc=place).geturl(),
        user=urllib.parse.unquote(user) if userinfo else None,
        password=urllib.parse.unquote(password) if colon else None,
    )
