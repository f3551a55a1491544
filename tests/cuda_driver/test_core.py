"""cuda.core on the stand-in driver: the parts of it that the pipeline uses, kernels and graphs included."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from . import build, standin

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.core", reason="the stand-in's tests need cuda-core")

SOURCE = Path(__file__).with_name("kernels_for_tests.cu")


def core_round_trip(source: str) -> dict[str, Any]:
    """The parts of cuda.core that the pipeline uses."""
    from cuda.core import Device, LaunchConfig, LegacyPinnedMemoryResource, Program, ProgramOptions, Stream, launch
    from cuda.core.utils import StridedMemoryView

    device = Device(0)
    device.set_current()
    stream = device.create_stream()
    found: dict[str, Any] = {"capability": tuple(device.compute_capability), "name": device.name}
    options = ProgramOptions(std="c++17", arch=f"sm_{device.arch}")
    code_ = Program(source, code_type="c++", options=options).compile("cubin", name_expressions=("add",))
    kernel = code_.get_kernel("add")
    found["parameters"] = kernel.num_arguments

    host = LegacyPinnedMemoryResource().allocate(40)
    values = np.from_dlpack(host).view(np.int32)
    values[:] = range(10)
    one = device.memory_resource.allocate(40, stream=stream)
    two = device.memory_resource.allocate(40, stream=stream)
    one.copy_from(host, stream=stream)
    two.copy_from(host, stream=stream)
    launch(stream, LaunchConfig(grid=1, block=1), kernel, one, two, np.int16(2), np.int32(10))
    one.copy_to(host, stream=stream)
    stream.sync()
    found["launched"] = values.tolist()

    builder = stream.create_graph_builder().begin_building()
    launch(builder, LaunchConfig(grid=1, block=1), kernel, one, two, np.int16(1), np.int32(10))
    graph = builder.end_building().complete()
    for _ in range(3):
        graph.launch(stream)
    one.copy_to(host, stream=stream)
    foreign = Stream.from_handle(int(stream.handle))
    event = foreign.record()
    event.sync()
    found["replayed"] = values.tolist()

    view = StridedMemoryView.from_dlpack(one, stream_ptr=-1)
    found["view"] = (view.ptr == int(one.handle), view.shape, view.is_device_accessible)
    graph.close()
    builder.close()
    for buffer in (one, two):
        buffer.close(stream)
    stream.sync()
    host.close()
    event.close()
    stream.close()
    return found


@pytest.fixture(scope="module")
def host_kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "host.cpp").write_text(
        f'#define __global__\n#include "{SOURCE}"\n'
        'extern "C" void hostlaunch_add(const unsigned*, void** a) {\n'
        "    add(*(int**)a[0], *(const int**)a[1], *(short*)a[2], *(int*)a[3]);\n}\n"
        'extern "C" { extern const unsigned hostparams_add[]; const unsigned hostparams_add[] = {4, 8, 8, 2, 4}; }\n'
    )
    command = ["g++", "-shared", "-fPIC", str(folder / "host.cpp"), "-o", str(folder / "host.so")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "host.so"


@pytest.mark.parametrize("order", ["threads", "late"])
def test_cuda_core(host_kernels: Path, order: str) -> None:
    outcome = standin.run(
        core_round_trip, SOURCE.read_text(), kernels=host_kernels, order=order, capability=[(8, 6)], name="A card"
    )
    assert outcome.value == {
        "capability": (8, 6),
        "name": "A card",
        "parameters": 4,
        "launched": [3 * i for i in range(10)],
        "replayed": [6 * i for i in range(10)],
        "view": (True, (40,), True),
    }
    launches = outcome.executed("kernel")
    assert ["graph" in line for line in launches] == [False, True, True, True]
    assert [line["kernel"] for line in launches] == ["add"] * 4
    assert not outcome.leaks["allocations"]
    assert outcome.leaks["streams"] == outcome.leaks["events"] == outcome.leaks["graph_execs"] == 0
