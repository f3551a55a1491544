"""Rewrite 5: value ranges found by consistency, since a wrong one fails silently (10 dB instead of 25).

A super-resolver must satisfy downscale(SR(x)) ~ x. The usual ranges are tried on a small picture (photographs,
black, greys) and the pair of input and output range that satisfies it best is kept.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from ..errors import ModelError
from .io_normalization import Normalization, Range
from .luma import WEIGHTS
from .reference import Floats

log = logging.getLogger(__name__)

USUAL: tuple[Range, ...] = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0), (-0.5, 0.5))
"""Fewest assumptions first: levels as they are, then scaled, then scaled and shifted; the rarest last."""
THRESHOLD = 16.0
"""dB of consistency below which a network is not believed to be a super-resolver. The worst real generator seen
reaches 17, the best wrong pair of ranges of a good one 13."""
_DOUBTFUL = 20.0
"""dB below which a finding is told as a guess."""
ALIKE = 0.15
"""dB within which two ranges are alike: the network is homogeneous enough to work in either."""


@dataclass(frozen=True, slots=True)
class RangeFinding:
    """Which ranges the network works in, as seen from the source file, and how surely."""

    input_range: Range
    output_range: Range
    consistency: float
    """dB between the input and the output scaled back down; nan where both ranges were given."""
    runner_up: float
    """dB of the best pair that is not alike; -inf where no other was tried."""
    alike: tuple[tuple[Range, Range], ...]
    """Other pairs within ALIKE of the best."""
    given: tuple[bool, bool]
    """Whether the caller named the input and the output range."""

    @property
    def doubtful(self) -> bool:
        """Whether the ranges were found, but not by much."""
        return not all(self.given) and self.consistency < _DOUBTFUL


def find_ranges(
    network: Callable[[Floats], Floats],
    *,
    scale: int,
    normalization: Normalization,
    shape: tuple[int, int] | None = None,
    multiple: int = 1,
    channels: int = 3,
    input_range: Range | None = None,
    output_range: Range | None = None,
    name: str = "the network",
) -> RangeFinding:
    """Finds the ranges that were not given.

    ``network`` is the bare network: float32 NCHW in, (N, channels, H*scale, W*scale) out; ``normalization`` maps its
    ranges to the file's. ``shape`` is the only input shape it takes, if any; ``channels`` is 3, or 1 for luma.
    Raises ModelError below THRESHOLD.
    """
    tiles = [_window(tile, shape, multiple) for tile in _test_tiles(shape)]
    if channels == 1:
        tiles = [np.tensordot(tile, np.array(WEIGHTS, np.float32), (1, 0))[:, None] for tile in tiles]
    inputs = (input_range,) if input_range else USUAL
    outputs = (output_range,) if output_range else USUAL
    scores = _scores(network, tiles, scale, normalization, inputs, outputs)
    if not scores:
        raise ModelError(f"{name}: the clip at its end allows none of the usual ranges; name --output-range A,B")
    best = max(score for score, _, _ in scores)
    if best == -np.inf:
        raise ModelError(f"{name} gives values that are not finite: its training diverged, or it overflows")
    given = (input_range is not None, output_range is not None)
    if best < THRESHOLD and not all(given):
        raise ModelError(
            f"{name}: its output, scaled down again, is not its input (at best {best:.1f} dB; a super-resolver reaches "
            f"{THRESHOLD:.0f}): it is untrained, or none; if its pictures are good, name its values for black and "
            "white, such as --input-range 0,1 --output-range -1,1"
        )
    if best < THRESHOLD:
        usual = max(_scores(network, tiles, scale, normalization, USUAL, USUAL), default=(-np.inf, (0, 0), (0, 0)))
        if usual[0] >= THRESHOLD:
            log.warning(
                "%s: with the ranges that were named its output, scaled down, is not its input (%.1f dB); "
                "%g..%g in, %g..%g out would give %.1f dB",
                *(name, best, *usual[1], *usual[2], usual[0]),
            )
    # among those alike, the order of USUAL decides: ``scores`` is in that order
    alike = [(score, a, b) for score, a, b in scores if score >= best - ALIKE]
    chosen = alike[0]
    others = [score for score, _, _ in scores if score < best - ALIKE]
    return RangeFinding(
        chosen[1],
        chosen[2],
        chosen[0],
        max(others, default=-np.inf),
        tuple((a, b) for _, a, b in alike[1:]),
        given,
    )


def colour_shift(
    network: Callable[[Floats], Floats],
    *,
    input_range: Range,
    output_range: Range,
    shape: tuple[int, int] | None,
    multiple: int,
) -> tuple[float, float, float]:
    """Levels of 255 by which the mean red, green and blue of the test picture grow in the bare ``network``."""
    low, high = input_range
    bottom, top = output_range
    shifts = []
    for tile in (_window(tile, shape, multiple) for tile in _test_tiles(shape)):
        levels = np.clip((network((tile * (high - low) + low).astype(np.float32)) - bottom) / (top - bottom), 0, 1)
        shifts.append(255 * (levels.mean(axis=(0, 2, 3)) - tile.mean(axis=(0, 2, 3))))
    red, green, blue = (round(float(mean), 2) + 0.0 for mean in np.mean(shifts, axis=0))
    return red, green, blue


def _scores(
    network: Callable[[Floats], Floats],
    tiles: list[Floats],
    scale: int,
    normalization: Normalization,
    inputs: Sequence[Range],
    outputs: Sequence[Range],
) -> list[tuple[float, Range, Range]]:
    """(consistency in dB, input range, output range) of every pair that the file's own clip allows."""
    scores = []
    for outer_in in inputs:
        low, high = normalization.bare_input_range(outer_in)
        results = [network((tile * (high - low) + low).astype(np.float32)) for tile in tiles]
        for outer_out in outputs:
            if not normalization.allows(outer_out) and len(outputs) > 1:
                continue
            bottom, top = normalization.bare_output_range(outer_out)
            levels = [np.clip((result - bottom) / (top - bottom), 0, 1) for result in results]
            scores.append((_consistency(tiles, levels, scale), outer_in, outer_out))
    return scores


def test_picture() -> Floats:
    """The picture that ranges are found on: (1, 3, 128, 128), 0..1.

    Halves of two photographs from scikit-image's samples, both CC0 (coffee by Rachel Michetti, chelsea by Stefan
    van der Walt), and a strip of black, greys and muted colours that shows a wrong bias. No pure colours: GANs
    render those badly in their right range too.
    """
    from PIL import Image

    with files(__package__).joinpath("data/photo.png").open("rb") as file:
        photo = np.asarray(Image.open(file).convert("RGB"), np.float32) / 255
    levels = [(0,) * 3, (0.05,) * 3, (0.25,) * 3, (0.5,) * 3, (0.75,) * 3, (1,) * 3, (0.6, 0.4, 0.4), (0.3, 0.4, 0.5)]
    strip = np.repeat(np.array(levels, np.float32)[None], 16, axis=1).repeat(32, axis=0)
    return np.concatenate([photo[:96], strip]).transpose(2, 0, 1)[None]


test_picture.__test__ = False  # type: ignore[attr-defined]


def _test_tiles(shape: tuple[int, int] | None) -> list[Floats]:
    """The test picture whole, or as windows of the only shape a network takes."""
    picture = test_picture()
    if shape is None:
        return [picture]
    steps = itertools.product(*(range(0, 128, max(side, 32)) for side in shape))
    return [np.roll(picture, (-y, -x), axis=(2, 3)) for y, x in steps]


def _window(picture: Floats, shape: tuple[int, int] | None, multiple: int) -> Floats:
    """The top left of ``picture``, repeated where it is smaller than ``shape``."""
    height, width = shape or (128 // multiple * multiple or multiple, 128 // multiple * multiple or multiple)
    repeats = (1, 1, -(-height // 128), -(-width // 128))
    return np.ascontiguousarray(np.tile(picture, repeats)[:, :, :height, :width])


def _consistency(tiles: list[Floats], levels: list[Floats], scale: int) -> float:
    """PSNR in dB between the tiles and the levels averaged over scale x scale pixels, borders left out; -inf if one of
    the levels is not finite."""
    errors = []
    for tile, level in zip(tiles, levels, strict=True):
        _, channels, height, width = tile.shape
        down = level.reshape(channels, height, scale, width, scale).mean(axis=(2, 4))
        edge = min(4, (min(height, width) - 1) // 2)
        errors.append(np.square(down - tile[0])[:, edge : height - edge, edge : width - edge].reshape(-1))
    error = np.concatenate(errors).mean()
    return float(-10 * np.log10(max(error, 1e-12))) if np.isfinite(error) else -np.inf
