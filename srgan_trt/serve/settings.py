"""What a service was told: where it listens, who may come in, and how much of everything."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import SrganTrtError

TOKEN = "SRGAN_TRT_TOKEN"
"""Environment variable: the token, where no file holds it."""
_SHORTEST_TOKEN = 16
_EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits of a service, and who may use it. Raises SrganTrtError where they open more than was asked for."""

    host: str = "127.0.0.1"
    port: int = 7000
    """0: one that is free."""
    token: str | None = None
    """What clients must show; None: nothing."""
    insecure: bool = False
    """Whether anyone may come in from other machines."""
    max_bytes: int = 32 << 20
    """Of an upload."""
    max_pixels: int = 25_000_000
    """Of a picture, before it is enlarged."""
    queue: int = 8
    """Pictures that may wait beside those in the works."""
    timeout: float = 120.0
    """Seconds that an upload, and then the work on a picture, may take."""
    allow_origin: str | None = None
    """scheme://host[:port] of pages elsewhere that may use the service."""
    page: bool = True
    """Whether there is a page at /."""

    def __post_init__(self) -> None:
        if not self.is_loopback and self.token is None and not self.insecure:
            raise SrganTrtError(
                f"{self.host} can be reached from other machines: give --token-file, or --insecure to let anyone in"
            )
        if self.token is not None and len(self.token) < _SHORTEST_TOKEN:
            raise SrganTrtError(f"the token has fewer than {_SHORTEST_TOKEN} characters: give one that is not guessed")
        if self.allow_origin is not None and not _is_origin(self.allow_origin):
            raise SrganTrtError(f"{self.allow_origin!r} is not an origin: give one like https://example.org")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the service."""
        if self.host == "localhost":
            return True
        address = _address(self.host)
        return address is not None and address.is_loopback

    def admits(self, token: str | None) -> bool:
        """Whether a client with this token may come in; takes the same time for every wrong one."""
        if self.token is None:
            return True
        shown = hashlib.sha256((token or "").encode()).digest()
        return hmac.compare_digest(shown, hashlib.sha256(self.token.encode()).digest())

    def is_host(self, header: str) -> bool:
        """Whether a request with this Host header is meant for this service.

        A page elsewhere can give its own name our address (DNS rebinding), but not the name that the browser sends: so
        addresses and names of this machine are taken, and other names only where a token is asked for as well.
        """
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        name = name.rstrip(".")
        if not name or "@" in header:
            return False
        if _address(name) is not None or name in ("localhost", self.host.lower()):
            return True
        if self.is_loopback:
            return False
        return self.token is not None or name in (socket.gethostname().lower(), socket.getfqdn().lower())

    def is_origin(self, origin: str, host: str) -> bool:
        """Whether pages of this Origin may send requests: ours, which is the Host header's, or the allowed one."""
        return origin == self.allow_origin or origin.partition("://")[2] == host


def read_token(file: str | None) -> str | None:
    """The token in a file, else in the environment, else None. Raises SrganTrtError if the file cannot be read."""
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        token = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SrganTrtError(f"the token in {file} cannot be read: {error}: name a file with a line of text") from error
    if not token.isascii() or not token.isprintable() or not token or " " in token:
        raise SrganTrtError(f"{file} holds no token: write one line of letters and digits into it")
    return token


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_origin(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and f"{parts.scheme}://{parts.netloc}" == text and bool(parts.hostname)
