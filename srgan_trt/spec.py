"""NetworkSpec: the facts about a network, as data. Written by the compiler, read by everyone else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .errors import PlanError

Prelu = Literal["inside", "apart"]
"""Where a PReLU is done: inside the convolution before it, as a sum, or apart, as the plan has it."""
_MOST = 1 << 20
"""Of pixels, or times, that a network can have to do with."""
_WIDEST = 1e30
"""Between network values of black and white, which are float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """What a plan's network expects and gives; stored as JSON in the plan's ``metadata_props``.

    The plan's input is float32 ``(N, 3, h, w)``, its output float32
    ``(N, 3*r*r, h*scale/r, w*scale/r)`` with ``r = shuffle``: channel ``(a*r + b)*3 + c`` is colour
    ``c`` of the pixel in row ``a``, column ``b`` of each r x r block (TensorFlow's depth_to_space order).
    """

    name: str
    """What the source file was called, without its folder."""
    scale: int
    """Output pixels per input pixel along each side; 1 for a restorer."""
    input_range: tuple[float, float]
    """Network values of level 0 and of the highest level (255 or 65535)."""
    output_range: tuple[float, float]
    """The plan's output values of level 0 and of the highest level; beyond them is clipped."""
    shuffle: int
    """r of the pixel shuffle that the unpack kernel does; 1 for none."""
    halo: int | None
    """Input pixels around a tile that its output depends on, whole; None where that is the whole picture."""
    radius: float | None
    """Radius of the receptive field in input pixels, as the field counts it (centre to edge)."""
    default_halo: int
    """Halo used unless exactness is asked for: beyond it the output changes by less than a level."""
    fixed_shape: tuple[int, int] | None
    """(height, width) if the network takes only that; None for a fully convolutional one."""
    multiple: int
    """Height and width of the input must be multiples of this (networks that downscale inside)."""
    precision: str
    """Of weights and activations in the plan: fp32, fp16 or int8."""
    macs: float
    """Multiply-accumulates per input pixel, as the plan computes them."""
    source_hash: str
    """sha256 of the file the plan was built from."""
    restores: bool = False
    """Whether it was trained to take away noise, blur and JPEG blocks: then nothing else should do so before it."""

    @property
    def usual_halo(self) -> int | None:
        """The halo where nothing else is asked for; None: the network sees the whole picture at once."""
        return None if self.halo is None else self.default_halo

    def __post_init__(self) -> None:
        """Raises PlanError if the facts contradict each other, or are none of a network that could be run."""
        sizes = {"scale": self.scale, "shuffle": self.shuffle, "multiple": self.multiple}
        if self.fixed_shape is not None:
            sizes |= {"height": self.fixed_shape[0], "width": self.fixed_shape[1]}
        for name, value in sizes.items():
            if not 1 <= value <= _MOST:
                raise _damaged(f"{name} is {value}")
        around = {"halo": self.halo or 0, "radius": self.radius or 0, "default_halo": self.default_halo}
        for name, number in {**around, "macs": self.macs}.items():
            if not 0 <= number <= (math.inf if name == "macs" else _MOST):
                raise _damaged(f"{name} is {number}")
        if self.scale % self.shuffle:
            raise _damaged(f"a shuffle by {self.shuffle} cannot end a x{self.scale} network")
        for name in ("input_range", "output_range"):
            low, high = getattr(self, name)
            if not (low < high and high - low < _WIDEST):
                raise _damaged(f"{name} {low}..{high} is empty, or endless")
        if self.precision not in ("fp32", "fp16", "int8"):
            raise _damaged(f"its precision is {self.precision!r}")


def _damaged(what: str) -> PlanError:
    return PlanError(f"the plan's spec is damaged: {what}; build the plan again")
