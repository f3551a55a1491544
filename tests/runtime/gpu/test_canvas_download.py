"""In which pieces a canvas goes down."""

from __future__ import annotations

import pytest

from srgan_trt.imaging.tiles import plan_tiles
from srgan_trt.runtime.gpu.canvas_download import Piece, pieces_of


def test_a_small_picture_is_one_piece() -> None:
    plan = plan_tiles(320, 480, tile=(320, 480), halo=10)
    assert pieces_of(plan.tiles, scale=4, pixel_bytes=3) == [Piece(0, 0, 1280, 1920)]


def test_full_hd_is_eight_pieces() -> None:
    plan = plan_tiles(1080, 1920, tile=(560, 976), halo=16, fixed=True)
    pieces = [piece for tile in plan.tiles for piece in pieces_of([tile], scale=4, pixel_bytes=3)]
    assert len(pieces) == 8
    assert sum(piece.height * piece.width for piece in pieces) == 16 * 1080 * 1920


@pytest.mark.parametrize("most", [1, 5000, 10**9])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_pieces_of_batches_are_the_canvas(batch: int, most: int) -> None:
    plan = plan_tiles(50, 61, tile=(24, 24), halo=4)
    seen = set()
    for first in range(0, len(plan.tiles), batch):
        for piece in pieces_of(plan.tiles[first : first + batch], scale=2, pixel_bytes=3, most=most):
            assert piece.height == 1 or piece.height * piece.width * 3 <= most
            for y in range(piece.top, piece.top + piece.height):
                for x in range(piece.left, piece.left + piece.width):
                    assert (y, x) not in seen
                    seen.add((y, x))
    assert len(seen) == 100 * 122


def test_neighbours_are_one_piece() -> None:
    plan = plan_tiles(50, 61, tile=(24, 24), halo=4)
    rows = pieces_of(plan.tiles, scale=2, pixel_bytes=3)
    assert {(piece.left, piece.width) for piece in rows} == {(0, 122)}
    assert len(rows) == len({tile.keep_y for tile in plan.tiles})
