"""`srgan_trt.upscale`: an `Upscaler` for one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .imaging.decode import MAX_PIXELS
from .upscaler import Upscaler

if TYPE_CHECKING:
    from .compiler.plan import Plan
    from .imaging.encode import Quality
    from .sizes import Box, Progress


def upscale(
    image: Any,
    *,
    model: str | os.PathLike[str] | Plan | None = None,
    sha256: str | None = None,
    trust_model: bool = False,
    scale: float | None = None,
    size: Box | None = None,
    output: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    overwrite: bool = False,
    quality: Quality | None = None,
    device: str = "auto",
    engine: str | None = None,
    precision: str | None = None,
    tile: int | None = None,
    halo: int | None = None,
    exact: bool = False,
    max_pixels: int = MAX_PIXELS,
    max_vram: int | None = None,
    threads: int | None = None,
    denoise: str | int | None = None,
    texture: float | None = None,
    tta: bool = False,
    color_fix: bool = False,
    progress: Progress | None = None,
) -> Any:
    """Upscales one image or a list of images.

    Each call opens the model anew (about a third of a second): for many calls keep an `Upscaler`. The arguments are
    those of `Upscaler` and of calling it.

    Args:
        image: A path or http(s) address, a Pillow image, an array, or a list of these.
        model: As `Upscaler` takes it; None is the default model.
        scale, size: As calling an `Upscaler` takes them; None is what the network makes.
        output: Where to save instead of returning an image; a list of paths for a list of images.
        overwrite: Whether `output` may exist.
        quality: Of `output`, as calling an `Upscaler` takes it.
        progress: Called with (tiles done, tiles in all) of each picture.

    Returns:
        The enlarged image, of the kind of `image` (a Pillow image for a path); the path or paths if `output` is given.

    Raises:
        SrganTrtError: What `Upscaler` and calling it raise.
    """
    with Upscaler(
        model,
        sha256=sha256,
        trust_model=trust_model,
        device=device,
        engine=engine,
        precision=precision,
        tile=tile,
        halo=halo,
        exact=exact,
        max_pixels=max_pixels,
        max_vram=max_vram,
        threads=threads,
        denoise=denoise,
        texture=texture,
        tta=tta,
        color_fix=color_fix,
    ) as up:
        return up(image, scale=scale, size=size, output=output, overwrite=overwrite, quality=quality, progress=progress)
