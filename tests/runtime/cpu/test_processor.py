"""What this machine's CPU is, and what plans run in on it."""

from __future__ import annotations

import pytest

from srgan_trt.errors import DeviceError
from srgan_trt.machine import usable_cores
from srgan_trt.runtime.cpu.processor import choose_precision, find_cpu


def test_bf16_is_chosen_where_the_cpu_has_it_and_only_there() -> None:
    assert choose_precision(None, True)[:2] == ("bf16", "fp32")
    assert choose_precision(None, False)[:2] == ("fp32", "fp32")
    assert choose_precision("fp32", True)[:2] == ("fp32", "fp32")
    with pytest.raises(DeviceError, match="no bf16"):
        choose_precision("bf16", False)
    with pytest.raises(DeviceError, match="not in 'int4'"):
        choose_precision("int4", True)


@pytest.mark.parametrize("asked", ["int8", "fp16"])
def test_what_only_a_plan_can_be_in_is_refused_with_the_way_to_get_it(asked: str) -> None:
    with pytest.raises(DeviceError, match=rf"srgan-trt build MODEL --precision int8.*precision {asked}"):
        choose_precision(asked, True)


def test_the_cpu_is_told_in_plain_values() -> None:
    cpu = find_cpu()
    assert cpu.key() == [cpu.engine, cpu.name, sorted(cpu.capabilities), usable_cores()]
    assert cpu.has_bf16 == ("BF16" in cpu.capabilities)
    assert "FP32" in cpu.capabilities
