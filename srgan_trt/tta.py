"""Test-time augmentation: the mean of what a network makes of a picture's eight turns and mirrors.

Timofte et al., "Seven Ways to Improve Example-Based Single Image Super Resolution", CVPR 2016, section 2.6 (enhanced
prediction).
"""

from __future__ import annotations

import numpy as np

from .imaging.picture import Samples
from .sizes import Progress, Run, Target, part_of, strips
from .spec import NetworkSpec

TIMES = 8
_STRIP_PIXELS = 1 << 24
"""Of the network's picture that is summed at once; it is held three times over: a result, and their sum, twice as
deep."""


def averaged(run: Run, spec: NetworkSpec, *, halo: int | None) -> Run:
    """A `run` that fills its result with the mean of `TIMES` runs, of whole levels, rounded.

    In strips, `halo` input pixels of context around each (None: whole): memory beyond picture and result is bounded.
    """

    def run_all(image: Samples, out: Samples, progress: Progress | None) -> tuple[str, ...]:
        height, width, _ = image.shape
        cut = _strips(height, width, spec, halo)
        total = TIMES * width * sum(end - begin for _, _, begin, end in cut)
        notes: tuple[str, ...] = ()
        done = 0
        for top, bottom, begin, end in cut:
            inner = slice(top - begin * spec.scale, bottom - begin * spec.scale)
            sums = np.zeros((bottom - top, *out.shape[1:]), np.uint16 if out.itemsize == 1 else np.uint32)
            for number in range(TIMES):
                turned = np.ascontiguousarray(_turned(image[begin:end], number))
                large = np.empty((turned.shape[0] * spec.scale, turned.shape[1] * spec.scale, out.shape[2]), out.dtype)
                share = width * (end - begin)
                notes += run(turned, large, part_of(progress, done, share, total))
                sums += _turned_back(large, number)[inner]
                done += share
            out[top:bottom] = (sums + TIMES // 2) // TIMES
        return notes

    return run_all


def tta_inputs(height: int, width: int, spec: NetworkSpec, *, halo: int | None) -> list[tuple[int, int]]:
    """(height, width) of everything that the network is given for a picture of `height` x `width`."""
    rows = [end - begin for _, _, begin, end in _strips(height, width, spec, halo)]
    return [size for count in rows for size in ((count, width), (width, count)) * (TIMES // 2)]


def tta_pixels(target: Target, width: int, height: int, spec: NetworkSpec) -> int:
    """Pixels that are in memory besides while a picture of `width` x `height` becomes `target`."""
    return 3 * min(width * height * spec.scale ** (2 * target.passes), _STRIP_PIXELS) if target.passes else 0


def _strips(height: int, width: int, spec: NetworkSpec, halo: int | None) -> list[tuple[int, int, int, int]]:
    native = Target(width * spec.scale, height * spec.scale, 1)
    return strips(native, height, width, spec, halo, most=_STRIP_PIXELS)


def _turned(image: Samples, number: int) -> Samples:
    return np.rot90(image[:, ::-1] if number >= TIMES // 2 else image, number % (TIMES // 2))


def _turned_back(image: Samples, number: int) -> Samples:
    back = np.rot90(image, -(number % (TIMES // 2)))
    return back[:, ::-1] if number >= TIMES // 2 else back
