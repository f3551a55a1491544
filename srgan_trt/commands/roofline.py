"""What `srgan-trt info --roofline` prints: a plan's time on NVIDIA's GPUs, bounded from below on paper."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..compiler.plan import Plan, load_plan
from ..compiler.roofline import LayerCost, Peak, floor, from_rows, layer_costs, least, total, with_kernels
from ..errors import ModelError
from ..resolve import ModelFile
from ..runtime.accelerators import ACCELERATORS, CHECKED, Accelerator

_WIDTH = 120
_TILE = 256
"""Side of the tile that is reckoned with unless another is named, in pixels."""
_MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class _Rate:
    name: str
    precision: str
    peak: Callable[[Accelerator], float]
    """In 10^12 operations a second."""


_FP16 = _Rate("fp16", "fp16", lambda gpu: gpu.fp16_tflops)
_FP16_SUMS = _Rate("fp16, sums in fp32", "fp16", lambda gpu: gpu.fp16_sums_in_fp32_tflops)
_INT8 = _Rate("int8", "int8", lambda gpu: gpu.int8_tops)


def describe_roofline(model: ModelFile, *, tile: int | None = None) -> str:
    """Operations, bytes and time floors of a plan, per layer and in all, before and after the rewrites, as tables.

    tile: side of the tile in input pixels (None: 256, or the only size that the network takes), rounded up to a
    multiple that the network takes.

    Raises ModelError if ``model`` is no plan or takes no such tile, PlanError if it is damaged.
    """
    path = model.path
    if model.kind != "plan":
        raise ModelError(f"{path} is no plan, and only a plan has a roofline: run 'srgan-trt build {path}' first")
    plan = load_plan(path)
    height, width = _tile(plan, tile)
    pixels = height * width
    networks = {"after the rewrites": with_kernels(_layers(plan), scale=plan.spec.scale)}
    if rows := plan.report.get("layers_before"):
        networks = {"before the rewrites": with_kernels(from_rows(rows), scale=plan.spec.scale), **networks}
    parts = [
        f"roofline of {path}: a bound from what the GPUs can do on paper, not a measurement. Nothing was run.",
        "\n".join(_conditions(plan, height, width)),
    ]
    if len(networks) == 1:
        parts.append(
            "before the rewrites: not known, because the plan was built without the list of its layers: build it again"
        )
    for state, costs in networks.items():
        for rate in (_FP16, _INT8):
            title = f"{state}, {rate.name}: floor of each layer for one tile, in microseconds (a bound)"
            parts.append("\n".join([title, *_layer_lines(costs, rate, pixels)]))
    parts.append("\n".join(_total_lines(networks, pixels)))
    parts.append("\n".join(_peak_lines()))
    return "\n\n".join(parts)


def _tile(plan: Plan, tile: int | None) -> tuple[int, int]:
    fixed, multiple = plan.spec.fixed_shape, plan.spec.multiple
    if fixed is not None:
        if tile is not None and fixed != (tile, tile):
            raise ModelError(f"{plan.path} runs in tiles of {fixed[1]} x {fixed[0]} only: leave --tile out")
        return fixed
    side = -(-(tile or _TILE) // multiple) * multiple
    return side, side


def _layers(plan: Plan) -> list[LayerCost]:
    import onnx

    from ..compiler import graph

    return layer_costs(graph.from_proto(onnx.load(str(plan.path))))


def _conditions(plan: Plan, height: int, width: int) -> Iterator[str]:
    """Under what assumptions the tables hold."""
    yield from _bullet(f"One tile of {width} x {height} pixels, 8 bits, x{plan.spec.scale}.")
    yield from _bullet(
        "A layer takes at least its operations (two for each multiply-accumulate) at the peak rate, and at least its "
        "bytes at the memory's bandwidth: the longer of the two is its floor. It is a convolution with the elementwise "
        "nodes after it; it reads its weights and inputs once and writes its outputs once. 'all' is one after another."
    )
    yield from _bullet(
        "Tensors that stay in a large cache from one layer to the next need not pass through memory. 'least' holds "
        "even then: all operations at the peak, or the pictures once through memory. Both are of direct convolutions: "
        "a kernel with fewer multiplications (Winograd) could be faster."
    )
    yield from _bullet(
        "fp16 is with sums in fp16, the faster; int8 is every layer in int8, whatever that does to the picture. Input "
        "and output of the network are fp16 always, as the pack and unpack kernels have them."
    )
    keeps = [side - 2 * plan.spec.default_halo for side in (height, width)]
    if min(keeps) > 0 and plan.spec.default_halo:
        yield from _bullet(
            f"A megapixel is of tiles. With the halo of {plan.spec.default_halo} pixels, a megapixel of a large "
            f"picture is {height * width / (keeps[0] * keeps[1]):.2f} megapixels of them."
        )


def _bullet(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="- ", subsequent_indent="  ")


def _peak(gpu: Accelerator, rate: _Rate) -> Peak:
    return Peak(rate.peak(gpu) * 1e12, gpu.bandwidth * 1e9)


def _line(count: str, kind: str, weight: str, operations: str, traffic: str, times: Sequence[str]) -> str:
    return f"{count:<7}{kind:<15}{weight:<20}{operations:>9}{traffic:>9}" + "".join(f"{time:>10}" for time in times)


def _layer_lines(costs: Sequence[LayerCost], rate: _Rate, pixels: int) -> Iterator[str]:
    """Equal layers are one line, with their number and the figures of each."""
    yield _line("layers", "operator", "weights", "GOP", "MB", [gpu.name for gpu in ACCELERATORS])
    peaks = [_peak(gpu, rate) for gpu in ACCELERATORS]
    for cost, count in Counter(costs).items():
        times = [floor(cost, peak, pixels=pixels, precision=rate.precision) for peak in peaks]
        yield _line(
            f"{count} x" if count > 1 else "1",
            cost.kind,
            " x ".join(str(side) for side in cost.weight),
            *_amounts([cost], rate, pixels),
            [f"{time * 1e6:.1f}" for time in times],
        )
    for name, bound in (("all", total), ("least", least)):
        times = [bound(costs, peak, pixels=pixels, precision=rate.precision) for peak in peaks]
        amounts = _amounts(costs, rate, pixels) if name == "all" else ("", "")
        yield _line(name, "", "", *amounts, [f"{time * 1e6:.1f}" for time in times])


def _amounts(costs: Sequence[LayerCost], rate: _Rate, pixels: int) -> tuple[str, str]:
    operations = sum(cost.operations(pixels) for cost in costs)
    traffic = sum(cost.traffic(pixels, precision=rate.precision) for cost in costs)
    return f"{operations / 1e9:.3f}", f"{traffic / 1e6:.3f}"


def _total_lines(networks: dict[str, list[LayerCost]], pixels: int) -> Iterator[str]:
    yield "in all, in milliseconds (a bound, not a measurement)"
    names = "".join(f"{gpu.name:>10}" for gpu in ACCELERATORS)
    yield f"{'':<21}{'':<21}{'':<18}{names}"
    for state, costs in networks.items():
        for rate in (_FP16, _FP16_SUMS, _INT8):
            tile, least_tile = (
                [bound(costs, _peak(gpu, rate), pixels=pixels, precision=rate.precision) for gpu in ACCELERATORS]
                for bound in (total, least)
            )
            for what, times, share in (
                ("a tile", tile, 1.0),
                ("a megapixel", tile, _MEGA / pixels),
                ("least a megapixel", least_tile, _MEGA / pixels),
            ):
                first = what == "a tile"
                figures = "".join(f"{time * share * 1e3:>10.3f}" for time in times)
                yield f"{state if first else '':<21}{rate.name if first else '':<21}{what:<18}{figures}"


def _peak_lines() -> Iterator[str]:
    yield from textwrap.wrap(f"peaks, dense: 10^12 operations a second, and GB/s of memory; {CHECKED}", _WIDTH)
    yield f"{'':<10}{'fp16':>8}{'sums in fp32':>14}{'int8':>9}{'GB/s':>9}  source"
    for gpu in ACCELERATORS:
        figures = (
            f"{gpu.name:<10}{gpu.fp16_tflops:>8g}{gpu.fp16_sums_in_fp32_tflops:>14g}{gpu.int8_tops:>9g}"
            f"{gpu.bandwidth:>9g}  "
        )
        text = gpu.source + (f". Not found: {gpu.unsure}" if gpu.unsure else "")
        yield from textwrap.wrap(text, _WIDTH, initial_indent=figures, subsequent_indent=" " * len(figures))
