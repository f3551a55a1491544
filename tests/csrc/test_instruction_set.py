"""What the extension takes the CPU for is what the system says that it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from srgan_trt import _pixels

_FACTS = Path("/proc/cpuinfo")


@pytest.mark.skipif(not _FACTS.is_file(), reason="no /proc/cpuinfo here")
def test_avx2_is_used_where_it_is() -> None:
    flags = re.search(r"^flags\s*:(.*)$", _FACTS.read_text(), re.MULTILINE)
    fast = flags is not None and {"avx2", "fma"} <= set(flags[1].split())
    assert _pixels.instruction_sets() == (("avx2", "baseline") if fast else ("baseline",))
