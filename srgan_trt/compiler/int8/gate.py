"""Whether an int8 network may be used: judged on pictures that it was not calibrated with.

Besides fidelity and the loss against the ground truth it looks for what means over photographs hide: bands on ramps,
a shift of colour, in photographs and in flat areas, and tiles that do not fit together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...self_test import SelfTest
from ...spec import NetworkSpec
from .. import graph
from ..reference import Floats, ReferenceRunner
from .calibration import Levels, Pictures, hardened, values
from .comparison import HARD_ALLOWANCE, Comparison, decibels, geometric_mean, levels_of
from .flat_fields import FlatFields

if TYPE_CHECKING:
    import onnx_ir as ir

MAX_DROP = 0.1
"""dB of luma against the ground truth."""
MIN_FIDELITY = 45.0
"""dB against the same network in float32."""
_MOST_OF_ONE = 5.0
"""Times the allowed drop that a single picture may lose."""
_MOST_SHIFT = 0.5
"""Level that the mean of a colour may move by."""
_MOST_FLAT = 1.5
"""Levels that a flat colour may move by, beyond what float32 itself misses it by."""
_MOST_SEAM = 0.5
"""Levels, root mean square over pieces of a cut, by which the mean of a piece may be farther from the whole picture
than in float32. With the default halo the border is felt a little, and rounding turns a little into another pattern
of noise, which nobody sees: a seam is a step that goes on along the cut, which means of its pieces show."""
_SEAM = 4
"""Input pixels beside the cut that are compared."""
_MOST_STEP = 3.0
"""Levels by which the largest step on a ramp may grow."""
_LEAST_LEVELS = 0.95
"""Of a ramp's distinct levels that must be left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate measured."""

    fidelity: float
    """dB, all colours, on the held-out pictures, their mean."""
    hard: float
    """The same, on darkened, brightened, oversaturated and noisy ones."""
    drop: float
    """dB of luma against the ground truth that float32 has more, mean over the pictures."""
    most_drop: float
    """The same of the picture that loses most."""
    shift: tuple[float, float, float]
    """Levels by which the means of red, green and blue moved."""
    flat: float
    """Levels by which a flat colour moved, the most of all, beyond what float32 itself misses it by."""
    levels: tuple[int, int]
    """Distinct levels on a grey ramp, float32's and int8's."""
    step: tuple[float, float]
    """Largest step between neighbours on the ramp, in levels, float32's and int8's."""
    seam: tuple[float, float]
    """Root mean square over pieces of a tile's edge of the difference in levels between their means and the whole's,
    with the default halo, float32's and int8's."""

    def failures(self, *, max_drop: float, min_fidelity: float) -> list[str]:
        """What does not hold, in words; empty if all does."""
        found = []
        if self.fidelity < min_fidelity:
            found.append(f"fidelity {self.fidelity:.1f} dB, not {min_fidelity:g}")
        if self.hard < min_fidelity - HARD_ALLOWANCE:
            found.append(
                f"fidelity {self.hard:.1f} dB on dark and noisy pictures, not {min_fidelity - HARD_ALLOWANCE:g}"
            )
        if self.drop > max_drop:
            found.append(f"{self.drop:.2f} dB lost against the truth, not {max_drop:g}")
        if self.most_drop > _MOST_OF_ONE * max_drop:
            found.append(f"{self.most_drop:.2f} dB lost in one picture, not {_MOST_OF_ONE * max_drop:g}")
        if max(map(abs, self.shift)) > _MOST_SHIFT:
            found.append(f"colours shifted by {max(self.shift, key=abs):+.2f} levels")
        if self.flat > _MOST_FLAT:
            found.append(f"a flat colour moved by {self.flat:.1f} levels")
        if self.levels[1] < _LEAST_LEVELS * self.levels[0] or self.step[1] > self.step[0] + _MOST_STEP:
            found.append(
                f"bands on a ramp: {self.levels[1]} levels of {self.levels[0]}, steps up to {self.step[1]:.1f}"
            )
        if self.seam[1] > self.seam[0] + _MOST_SEAM:
            found.append(f"seams between tiles of {self.seam[1]:.2f} levels")
        return found


@dataclass(frozen=True, slots=True)
class _Results:
    held: list[Floats]
    """Levels (h, w, 3), not rounded, of each held-out picture."""
    ramp: Floats
    seam: float


class Gate:
    """Holds what the exact network gives for the held-out pictures."""

    def __init__(self, exact: ir.Model, spec: NetworkSpec, pictures: Pictures) -> None:
        self._spec, self._pairs = spec, pictures.held_out
        self._ramp = _ramp(spec)
        self._flats = FlatFields(exact, spec, pictures.flat_fields)
        self._hard = Comparison(exact, spec, values(hardened([low for _, low in self._pairs]), spec.input_range))
        self._exact = self._results(exact)
        self._scores = self._against_truth(self._exact)

    def judge(self, candidate: ir.Model) -> Verdict:
        """Measures ``candidate``, which has the exact network's input and output."""
        found = self._results(candidate)
        pairs = list(zip(found.held, self._exact.held, strict=True))
        errors = [float(np.square((mine - theirs) / 255).mean()) for mine, theirs in pairs]
        shift = np.mean([(mine - theirs).mean(axis=(0, 1)) for mine, theirs in pairs], axis=0)
        lost = [theirs - mine for mine, theirs in zip(self._against_truth(found), self._scores, strict=True)]
        ramps = (self._exact.ramp, found.ramp)
        distinct = [len(np.unique(np.round(ramp))) for ramp in ramps]
        steps = [float(np.abs(np.diff(ramp)).max()) for ramp in ramps]
        return Verdict(
            fidelity=decibels(geometric_mean(errors)),
            hard=decibels(self._hard.errors(candidate)[0]),
            drop=float(np.mean(lost)),
            most_drop=float(max(lost)),
            shift=(float(shift[0]), float(shift[1]), float(shift[2])),
            flat=self._flats.max_shift(candidate),
            levels=(distinct[0], distinct[1]),
            step=(steps[0], steps[1]),
            seam=(self._exact.seam, found.seam),
        )

    def _results(self, model: ir.Model) -> _Results:
        runner = ReferenceRunner(graph.to_proto(model))
        held = [levels_of(runner, self._spec, low) for _, low in self._pairs]
        # the middle row, grey as the mean of the colours: a network may tint greys a little
        ramp = levels_of(runner, self._spec, self._ramp)
        return _Results(held, ramp[len(ramp) // 2].mean(axis=1), self._seam(runner, self._pairs[0][1], held[0]))

    def _against_truth(self, results: _Results) -> list[float]:
        from ...quality.metrics import psnr

        border = min(self._spec.scale, 8)
        rounded = [np.round(result).astype(np.uint8) for result in results.held]
        return [
            min(100.0, psnr(truth, result, border=border))
            for (truth, _), result in zip(self._pairs, rounded, strict=True)
        ]

    def _seam(self, runner: ReferenceRunner, low: Levels, whole: Floats) -> float:
        """How far the right edge of a tile, run alone with the default halo, is from the same place in the whole."""
        if self._spec.fixed_shape is not None:
            return 0.0
        scale, multiple = self._spec.scale, self._spec.multiple
        keep = max(1, low.shape[1] - self._spec.default_halo) // multiple * multiple
        cut = min(low.shape[1], -(-(keep // 2 + self._spec.default_halo) // multiple) * multiple)
        part = levels_of(runner, self._spec, np.ascontiguousarray(low[:, :cut]))
        core = min(keep // 2, cut) * scale
        if not core:
            return 0.0
        edge, length = slice(max(0, core - _SEAM * scale), core), min(_SEAM * scale, len(part))
        apart = (part - whole[:, : part.shape[1]])[: len(part) // length * length, edge]
        pieces = apart.reshape(-1, length, *apart.shape[1:]).mean(axis=(1, 2))
        return float(np.sqrt(np.square(pieces).mean()))


def make_self_test(exact: ir.Model, candidate: ir.Model, spec: NetworkSpec, picture: Levels) -> SelfTest:
    """The self-test for devices that run ``candidate``. picture: uint8 (h, w, 3), of a size that the network takes."""
    mine, theirs = (
        np.round(levels_of(ReferenceRunner(graph.to_proto(model)), spec, picture)).astype(np.uint8)
        for model in (candidate, exact)
    )
    return SelfTest.of(picture, exact=theirs, plan=mine)


def _ramp(spec: NetworkSpec) -> Levels:
    """Grey from black to white, level by level, as large as the network takes it."""
    height, width = spec.fixed_shape or tuple(-(-side // spec.multiple) * spec.multiple for side in (24, 256))
    row = np.round(np.linspace(0, 255, width)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, width, 3)))
