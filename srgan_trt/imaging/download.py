"""A picture from an http or https address, within limits of time and size."""

from __future__ import annotations

from ..errors import PictureError

MAX_BYTES = 256 << 20


def download(
    url: str, *, max_bytes: int = MAX_BYTES, idle_timeout: float = 20.0, total_timeout: float = 300.0
) -> bytes:
    """What ``url`` answers; the limits are those of `net.fetch`. Raises PictureError, in one line, as that says."""
    from ..net import fetch  # requests takes a while to import

    data = bytearray()
    fetch(
        url,
        data.extend,
        what="picture",
        error=PictureError,
        max_bytes=max_bytes,
        idle_timeout=idle_timeout,
        total_timeout=total_timeout,
    )
    return bytes(data)
