"""Which convolutions become int8: as many as the gate lets through, those that cost the picture least per time won."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ModelError
from ...spec import NetworkSpec
from . import calibration
from .activations import observe, sites
from .comparison import Comparison
from .gate import MAX_DROP, MIN_FIDELITY, Gate, Verdict
from .quantisation import quantised
from .sensitivity import Sensitivity, measure
from .time_model import SOURCE

if TYPE_CHECKING:
    from pathlib import Path

    import onnx_ir as ir

    from ..verify import Prover

_log = logging.getLogger(__name__)

_MARGIN = 0.5
"""dB by which the first choice may miss the fidelity asked for: sums of errors are a prediction, the gate measures."""
_TRIAL_MACS = 120e9
"""Multiply-accumulates of one pass over the tiles that sensitivities are measured on."""


@dataclass(frozen=True, slots=True)
class Selection:
    """An int8 network that passed the gate, and how it came to be."""

    model: ir.Model
    report: dict[str, Any]
    """For ``plan.report["int8"]``."""


def to_int8(
    prover: Prover, spec: NetworkSpec, *, folder: Path | None = None, max_drop: float | None = None
) -> tuple[ir.Model, dict[str, Any]]:
    """The prover's network with as many convolutions in int8 as may be, and what was found, for ``plan.report``.

    folder: Pictures to calibrate with and to judge by; None takes the built-in ones. Raises ModelError if nothing
    can be quantised within ``max_drop``, PictureError as ``calibration.from_folder`` does.
    """
    facts: dict[str, Any] = {"scale": spec.scale, "multiple": spec.multiple, "shape": spec.fixed_shape}
    pictures = calibration.built_in(**facts) if folder is None else calibration.from_folder(folder, **facts)
    selection = select(prover.model, spec, pictures, max_drop=MAX_DROP if max_drop is None else max_drop)
    return selection.model, selection.report


def select(
    model: ir.Model,
    spec: NetworkSpec,
    pictures: calibration.Pictures,
    *,
    max_drop: float = MAX_DROP,
    min_fidelity: float = MIN_FIDELITY,
) -> Selection:
    """Quantises ``model``, which is left as it is.

    Raises ModelError if no convolution can be quantised within ``max_drop`` (dB of luma against the ground truth) and
    ``min_fidelity`` (dB against float32) on the held-out pictures.
    """
    batch, hard = (calibration.values(tiles, spec.input_range) for tiles in (pictures.tiles, pictures.hard))
    found = sites(model)
    if not found:
        raise ModelError(f"{spec.name} has no convolution that int8 could take: build it with --precision fp16")
    seen = observe(model, found, np.concatenate([batch, hard]))
    count = int(max(4, min(16, _TRIAL_MACS / (spec.macs * batch.shape[2] * batch.shape[3]))))
    comparison = Comparison(model, spec, batch[: count * 2 // 3], hard[: count // 3])
    measured = measure(model, found, seen, comparison)
    gate = Gate(model, spec, pictures)
    chosen = _affordable(measured, 10 ** (-(min_fidelity - _MARGIN) / 10))
    failures: list[str] = []
    while chosen:
        candidate = quantised(model, {each.site.name: each.conv for each in chosen})
        verdict = gate.judge(candidate)
        failures = verdict.failures(max_drop=max_drop, min_fidelity=min_fidelity)
        _log.info("int8: %d of %d convolutions, fidelity %.1f dB", len(chosen), len(measured), verdict.fidelity)
        if not failures:
            candidate, verdict, shared = _shared(model, chosen, gate, candidate, verdict, max_drop, min_fidelity)
            return Selection(candidate, _report(measured, chosen, shared, verdict, pictures, max_drop, min_fidelity))
        chosen.remove(max(chosen, key=lambda each: each.price))
    raise ModelError(
        f"{spec.name} loses too much in int8 ({'; '.join(failures) or 'every layer alone does'}): build it with "
        "--precision fp16, or allow more with --max-drop"
    )


def _affordable(measured: list[Sensitivity], budget: float) -> list[Sensitivity]:
    """The layers whose errors, added up as noise does, stay within ``budget``: cheapest per second won first."""
    chosen, spent = [], 0.0
    for each in sorted(measured, key=lambda each: each.price):
        if each.won <= 0 or spent + each.error > budget:
            continue
        chosen.append(each)
        spent += each.error
    return sorted(chosen, key=lambda each: each.site.number)


def _shared(
    model: ir.Model,
    chosen: list[Sensitivity],
    gate: Gate,
    candidate: ir.Model,
    verdict: Verdict,
    max_drop: float,
    min_fidelity: float,
) -> tuple[ir.Model, Verdict, list[str]]:
    """Lets additions read the same levels as convolutions do, from as many places as the gate lets through: the
    residual sums then need no pass of their own to become int8."""
    added = {value.name for node in model.graph if node.op_type == "Add" for value in node.inputs if value is not None}
    names = list(dict.fromkeys(each.site.source for each in chosen if each.site.source in added))
    convs = {each.site.name: each.conv for each in chosen}
    while names:
        other = quantised(model, convs, shared=names)
        judged = gate.judge(other)
        if not judged.failures(max_drop=max_drop, min_fidelity=min_fidelity):
            return other, judged, names
        # the later a sum, the fewer layers see its rounding
        names = names[(len(names) + 1) // 2 :] if len(names) > 1 else []
    return candidate, verdict, []


def _report(
    measured: list[Sensitivity],
    chosen: list[Sensitivity],
    shared: list[str],
    verdict: Verdict,
    pictures: calibration.Pictures,
    max_drop: float,
    min_fidelity: float,
) -> dict[str, Any]:
    return {
        "layers": [
            {
                "number": each.site.number,
                "name": each.site.name,
                "shape": str(each.site),
                "fidelity": round(each.fidelity, 2),
                "won": round(each.share, 5),
                "range": each.conv.rule,
                "int8": each in chosen,
            }
            for each in measured
        ],
        "shared": len(shared),
        "won": round(sum(each.share for each in chosen), 4),
        "time": SOURCE,
        "pictures": pictures.origin,
        "max_drop": max_drop,
        "min_fidelity": min_fidelity,
        "gate": verdict.to_report(),
    }
