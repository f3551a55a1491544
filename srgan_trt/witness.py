"""A small picture that travels in a plan, with what the exact network gives for it: devices are held to it.

A plan in int8 is judged by its own arithmetic on the machine that builds it. What a device's library makes of it on
another machine is another matter (docs/architecture.md has a case), so whoever compiles such a plan runs this picture
first.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import OtherPictureError, PlanError

_ENOUGH = 45.0
"""dB from the exact network that do for every device: what the gate of int8 asks for."""
_ALLOWANCE = 3.0
"""dB less than the plan's own arithmetic that do: sums in another order fall to other levels, and what is not in int8
may be in bfloat16."""

_MOST_PIXELS = 1 << 24
"""Of either picture: what is packed in a plan may unpack to no more."""

Levels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Witness:
    """What a device is held to."""

    picture: Levels
    """uint8 (h, w, 3), of a size that the network takes at once."""
    expected: Levels
    """uint8 (h*scale, w*scale, 3), the exact network's."""
    fidelity: float
    """dB between that and what the plan's own arithmetic gives, both in whole levels."""

    @classmethod
    def of(cls, picture: Levels, *, exact: Levels, plan: Levels) -> Witness:
        """exact, plan: what the exact network and the plan's arithmetic give for `picture`, whole levels."""
        return cls(picture, exact, round(_decibels(plan, exact), 2))

    def check(self, result: Levels, *, what: str) -> None:
        """Raises OtherPictureError if `result`, which `what` gave for the picture, is not the one that was promised."""
        found = _decibels(result, self.expected)
        if not found >= min(_ENOUGH, self.fidelity - _ALLOWANCE):
            raise OtherPictureError(
                f"{what} gives another picture than it was proven to: {found:.1f} dB from the exact network's, not "
                f"{self.fidelity:.1f}; use a plan in fp32 here"
            )

    def to_json(self) -> str:
        """As text that `from_json` reads."""
        pictures = {"picture": self.picture, "expected": self.expected}
        packed = {
            name: {"shape": list(levels.shape), "zlib": base64.b64encode(zlib.compress(levels.tobytes(), 9)).decode()}
            for name, levels in pictures.items()
        }
        return json.dumps({"fidelity": self.fidelity, **packed})

    @classmethod
    def from_json(cls, text: str) -> Witness:
        """Raises PlanError if `text` is not what `to_json` writes."""
        try:
            content = json.loads(text)
            picture, expected = (
                _unpacked(base64.b64decode(part["zlib"]), part["shape"])
                for part in (content["picture"], content["expected"])
            )
            return cls(picture, expected, float(content["fidelity"]))
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            raise PlanError(f"the picture that devices are held to is damaged ({error})") from None


def _unpacked(packed: bytes, shape: list[int]) -> Levels:
    """Raises ValueError if `packed` holds more than a picture of that shape, or that is no small picture."""
    height, width, channels = shape
    if channels != 3 or not 0 < height * width <= _MOST_PIXELS or min(height, width) < 1:
        raise ValueError(f"a picture of {'x'.join(str(side) for side in shape)}")
    levels = zlib.decompressobj().decompress(packed, height * width * channels + 1)
    return np.frombuffer(levels, np.uint8).reshape(shape)


def _decibels(mine: Levels, other: Levels) -> float:
    """PSNR over all colours; 99 of equal ones."""
    error = float(np.square(mine.astype(np.float64) - other).mean())
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))
