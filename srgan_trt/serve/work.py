"""What a thread does for a job: bytes -> picture -> enlarged -> bytes."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import StoppedError
from ..imaging.decode import decode
from ..imaging.encode import encode_to
from ..sizes import result_label
from .job import Result
from .models import Models
from .options import Options

_GLANCE = 0.02
"""Seconds between two looks at whether a picture that waits for the network was given up."""


def work(
    picture: bytes,
    options: Options,
    models: Models,
    *,
    network: threading.Semaphore,
    stop: threading.Event,
    progress: Callable[[int, int], None],
    max_pixels: int,
) -> Result:
    """The enlarged picture as a file.

    network: what is held while the picture is in the network; reading and writing go on beside it. stop: gives it up.

    Raises StoppedError after `stop`, PictureError for what is not a picture or does not fit into the format, and what
    `Upscaler.enlarge` raises.
    """
    begin = time.perf_counter()
    up = models.upscaler(options.model, options.texture)
    small = decode(picture, name="the picture", max_pixels=max_pixels)
    read = time.perf_counter()
    with _turn(network, stop):
        entered = time.perf_counter()
        large = up.upscale_picture(small, size=options.size, denoise=options.denoise, progress=progress, stop=stop)
        left = time.perf_counter()
    if stop.is_set():
        raise StoppedError("the picture was given up")
    file = io.BytesIO()
    notes = encode_to(large, file, format=options.format, name="the result", quality=options.quality)
    seconds = {"read": read - begin, "network": left - entered, "write": time.perf_counter() - left}
    return Result(
        content=file.getvalue(),
        format=options.format,
        width=large.width,
        height=large.height,
        label=result_label(options.size, up.spec),
        denoised=large.denoised,
        notes=large.notes + notes,
        seconds={step: round(value, 4) for step, value in seconds.items()},
    )


@contextmanager
def _turn(network: threading.Semaphore, stop: threading.Event) -> Iterator[None]:
    while not network.acquire(timeout=_GLANCE):
        if stop.is_set():
            raise StoppedError("the picture was given up")
    try:
        yield
    finally:
        network.release()
