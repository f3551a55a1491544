"""How the CUDA kernels are launched: few idle lanes, and the numbers that their source has."""

from __future__ import annotations

import re

import numpy as np
import pytest

from srgan_trt.runtime.gpu import launch_geometry
from srgan_trt.runtime.gpu.kernel_code import KERNELS, kernel_source
from srgan_trt.runtime.gpu.launch_geometry import LaunchGeometry, kernel_name, pack_launch, unpack_launch


def constant(name: str) -> int:
    found = re.search(rf"constexpr int {name} = (\d+);", "".join(kernel_source().values()))
    assert found
    return int(found[1])


def test_the_numbers_are_those_of_the_source() -> None:
    assert constant("pack_threads") == launch_geometry._PACK_THREADS
    assert constant("pack_columns_per_lane") == launch_geometry._PACK_COLUMNS_PER_LANE
    assert constant("unpack_threads") == launch_geometry._UNPACK_THREADS
    assert constant("unpack_levels_per_lane") == launch_geometry._UNPACK_LEVELS_PER_LANE


def test_a_job_is_laid_out_as_in_the_source() -> None:
    struct = kernel_source()["tile_job.h"].split("struct TileJob {")[1].split("};")[0]
    fields = re.findall(r"^ *int (.*);$", struct, re.MULTILINE)
    assert launch_geometry.TILE_JOB.names == tuple(", ".join(fields).split(", "))
    assert launch_geometry.TILE_JOB.itemsize == 32


def test_kernel_names() -> None:
    levels, elements = (np.uint8, np.uint16), (np.float16, np.float32)
    names = [kernel_name("pack", level, element) for level in levels for element in elements]
    names += [kernel_name("unpack", element, level) for element in elements for level in levels]
    assert tuple(names) == KERNELS


def test_pack() -> None:
    assert pack_launch(1, 1, count=1) == LaunchGeometry((1, 1, 1), (8, 32, 1))
    assert pack_launch(96, 96, count=4) == LaunchGeometry((1, 6, 4), (16, 16, 1))
    assert pack_launch(512, 512, count=1) == LaunchGeometry((2, 64, 1), (32, 8, 1))
    # Rows that do not begin at a sector are shifted by up to 15 columns.
    assert pack_launch(8, 255, count=1).grid == (2, 1, 1)


def test_unpack() -> None:
    tile = {"out_height": 384, "channels": 3, "count": 4}
    assert unpack_launch(96, 96, shuffle=4, **tile) == LaunchGeometry((1, 48, 4), (16, 8, 1))
    assert unpack_launch(512, 512, shuffle=4, **tile) == LaunchGeometry((2, 96, 4), (32, 4, 1))
    assert unpack_launch(1, 1, shuffle=256, **tile) == LaunchGeometry((1, 16, 4), (8, 16, 1))


def test_limits() -> None:
    with pytest.raises(ValueError, match="at most 65535 tiles at once, not 65536"):
        pack_launch(8, 8, count=65536)
    with pytest.raises(ValueError, match="shuffle by at most 256, not 257"):
        unpack_launch(8, 8, out_height=8, shuffle=257, channels=3, count=1)
    assert pack_launch(2**22, 8, count=1).grid == (1, 65535, 1)
