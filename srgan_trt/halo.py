"""How much context each tile gets: what the user asked for, as far as the network allows it."""

from __future__ import annotations

import logging

from .errors import SrganTrtError
from .spec import NetworkSpec

_log = logging.getLogger(__name__)


def resolve_halo(spec: NetworkSpec, tile: int | None, halo: int | None, exact: bool) -> tuple[int | None, list[str]]:
    """Halo (None: the whole picture at once) and what to say about it; SrganTrtError where tile and halo do not fit."""
    if (tile is not None and tile < 1) or (halo is not None and halo < 0):
        raise SrganTrtError(f"tile {tile} and halo {halo}: a tile is at least 1 pixel, a halo at least 0")
    if spec.fixed_shape is not None:
        return _fixed_halo(spec, tile, halo, exact)
    if spec.halo is None:
        if tile is None and halo is None:
            return None, []
        if exact:
            raise SrganTrtError(f"{spec.name} sees the whole picture in every pixel: exact allows no tile")
        chosen = spec.default_halo if halo is None else halo
        notes = [f"{spec.name} sees the whole picture in every pixel: in tiles its result is another one"]
        _log.warning(notes[0])
    else:
        chosen = min(spec.halo, spec.halo if exact else spec.default_halo if halo is None else halo)
        notes = []
    if tile is not None and -(-tile // spec.multiple) <= 2 * -(-chosen // spec.multiple):
        context = -(-chosen // spec.multiple) * spec.multiple
        raise SrganTrtError(
            f"a tile of {tile} pixels keeps nothing between two halos of {context}: use a tile above {2 * context}, "
            "or a smaller halo"
        )
    return chosen, notes


def _fixed_halo(spec: NetworkSpec, tile: int | None, halo: int | None, exact: bool) -> tuple[int, list[str]]:
    assert spec.fixed_shape is not None
    height, width = spec.fixed_shape
    size = f"{width} x {height}"
    if tile is not None and spec.fixed_shape != (tile, tile):
        raise SrganTrtError(f"{spec.name} runs in tiles of {size} only: leave tile out")
    most = (min(height, width) // spec.multiple - 1) // 2 * spec.multiple
    full = spec.halo is not None and spec.halo <= most
    if exact:
        if not full:
            raise SrganTrtError(
                f"{spec.name} runs in tiles of {size} only, which do not hold its receptive field: exact is impossible"
            )
        assert spec.halo is not None
        return spec.halo, []
    chosen = spec.default_halo if halo is None else halo
    if halo is not None and halo > most:
        raise SrganTrtError(f"{spec.name} runs in tiles of {size} only: use a halo of at most {most}")
    return min(chosen, most), [f"{spec.name} runs in tiles of {size} only"]
