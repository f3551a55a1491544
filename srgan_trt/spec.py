"""NetworkSpec: the facts about a network, as data. Written by the compiler, read by everyone else."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from .errors import PlanError


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

    def __post_init__(self) -> None:
        for name in ("scale", "shuffle", "multiple"):
            if getattr(self, name) < 1:
                raise PlanError(f"the plan's spec is damaged: {name} is {getattr(self, name)}; build the plan again")
        if self.scale % self.shuffle:
            raise PlanError(
                f"the plan's spec is damaged: a shuffle by {self.shuffle} cannot end a x{self.scale} network; "
                "build the plan again"
            )
        for name in ("input_range", "output_range"):
            low, high = getattr(self, name)
            if not low < high:
                raise PlanError(f"the plan's spec is damaged: {name} {low}..{high} is empty; build the plan again")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> NetworkSpec:
        """Raises PlanError if ``text`` is not what ``to_json`` of this version writes."""
        try:
            fields: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise PlanError(f"the plan's spec is not JSON ({error}); build the plan again") from None
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(fields, dict) or set(fields) | {"restores"} != known:
            raise PlanError("the plan was written by another version of srgan-trt; build it again")
        for name in ("input_range", "output_range", "fixed_shape"):
            if fields[name] is not None:
                fields[name] = tuple(fields[name])
        return cls(**fields)
