"""Which convolutions become int8: as many as the gate lets through, those that cost the picture least per time won."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ModelError
from ...spec import NetworkSpec
from .. import graph
from . import calibration
from .activations import Observed, Site, observe, sites
from .comparison import Comparison
from .equalisation import factors, rescale, tied_channels
from .flat_fields import FlatFields
from .gate import MAX_DROP, MIN_FIDELITY, Gate, Verdict, make_self_test
from .quantisation import fit, quantised
from .sensitivity import Sensitivity, measure
from .time_model import SOURCE

if TYPE_CHECKING:
    from pathlib import Path

    import onnx_ir as ir

    from ...self_test import SelfTest
    from ..verify import RewriteChecker

_log = logging.getLogger(__name__)

_MARGIN = 0.5
"""dB by which the first choice may miss the fidelity asked for: sums of errors are a prediction, the gate measures."""
_STEP = 0.4
"""dB by which the errors allowed shrink at least from one try to the next: small, as a large layer that only just fits
may be worth more than all that goes with it."""
_BLIND_STEP = 1.2
"""The same where it is something else than fidelity that fails, which the sum of errors does not tell."""
_FILLS = 4
"""Times that layers are added to a choice that passed, or fewer of them after too many."""
_STRENGTHS = (0.5, 1.0)
"""Of equalisation, tried beside none."""
_TRIAL_MACS = 120e9
"""Multiply-accumulates of one pass over the tiles that sensitivities are measured on."""


_BROADER = 3
"""Times as many pictures, for layers that cost most."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """A network in int8, and what goes into its plan."""

    model: ir.Model
    report: dict[str, Any]
    """What was found, for ``plan.report``."""
    self_test: SelfTest


@dataclass(frozen=True, slots=True)
class Selection:
    """An int8 network that passed the gate, and how it came to be."""

    model: ir.Model
    chosen: list[Sensitivity]
    """In int8."""
    sums: list[str]
    """Tensors that additions, too, read in int8."""
    verdict: Verdict
    max_drop: float
    min_fidelity: float

    @property
    def won(self) -> float:
        """Share of the time of all convolutions in the high precision."""
        return sum(each.won(self.sums) / each.total for each in self.chosen)


def to_int8(
    checker: RewriteChecker, spec: NetworkSpec, *, folder: Path | None = None, max_drop: float | None = None
) -> Quantised:
    """The checker's network with as many convolutions in int8 as the gate allows.

    The checker's own network gets its channels equalised, which is checked as every rewrite is. folder: Pictures to
    calibrate with and to judge by; None takes the built-in ones. Raises ModelError if nothing can be quantised within
    ``max_drop``, PictureError as ``calibration.from_folder`` does.
    """
    facts: dict[str, Any] = {"scale": spec.scale, "multiple": spec.multiple, "shape": spec.fixed_shape}
    pictures = calibration.built_in(**facts) if folder is None else calibration.from_folder(folder, **facts)
    usual, hard = (calibration.values(tiles, spec.input_range) for tiles in (pictures.tiles, pictures.hard))
    found = sites(checker.model)
    if not found:
        raise ModelError(f"{spec.name} has no convolution that int8 could take: build it with --precision fp16")
    seen = observe(checker.model, found, np.concatenate([usual, hard]))
    seen = _equalised(checker, found, seen)
    found = sites(checker.model)
    count = int(max(3, min(9, _TRIAL_MACS / (spec.macs * usual.shape[2] * usual.shape[3]))))
    flat_fields = FlatFields(checker.model, spec, pictures.flat_fields)
    few = Comparison(checker.model, spec, usual[: count * 2 // 3], hard[: count // 3], flat_fields=flat_fields)
    broad = Comparison(checker.model, spec, usual[-count * _BROADER :], hard[-count:], flat_fields=flat_fields)
    measured = measure(checker.model, found, seen, few, broad)
    gate = Gate(checker.model, spec, pictures)
    selection = select(
        checker.model,
        measured,
        gate,
        name=spec.name,
        max_drop=MAX_DROP if max_drop is None else max_drop,
        min_fidelity=MIN_FIDELITY + pictures.caution,
    )
    return Quantised(
        selection.model,
        _report(measured, selection) | {"pictures": pictures.origin},
        make_self_test(checker.model, selection.model, spec, calibration.self_test_picture(**facts)),
    )


def _equalised(checker: RewriteChecker, found: list[Site], seen: dict[str, Observed]) -> dict[str, Observed]:
    """Brings channels to the same range by as much as helps int8 most; returns what the convolutions then read."""
    channels = tied_channels(checker.model)
    spreads = {site.source: seen[site.name].spread() for site in found}
    best, least, kept = None, _noise(found, seen), seen
    for strength in _STRENGTHS:
        factor = factors(channels, spreads, strength=strength)
        copy = graph.from_proto(graph.to_proto(checker.model))
        rescale(copy, channels, factor)
        scaled = {site.name: seen[site.name].scaled(channels.part(factor, site.source)) for site in found}
        noise = _noise(sites(copy), scaled)
        if noise < least:
            best, least, kept = factor, noise, scaled
    if best is None:
        return seen
    checker.rewrite("channels to equal ranges", partial(rescale, channels=channels, factor=best))
    return kept if checker.checks[-1].kept else seen


def _noise(found: list[Site], seen: Mapping[str, Observed]) -> float:
    """Of all convolutions, each quantised alone: the mean, in powers of ten, of what it does to its own output."""
    return float(np.mean([np.log10(max(fit(site, seen[site.name]).noise, 1e-12)) for site in found]))


def select(
    model: ir.Model,
    measured: list[Sensitivity],
    gate: Gate,
    *,
    name: str,
    max_drop: float = MAX_DROP,
    min_fidelity: float = MIN_FIDELITY,
) -> Selection:
    """Quantises ``model``, which is left as it is, as far as ``gate`` lets it.

    Tried with residual sums that stay in int8 between layers, which costs fidelity and wins a pass for each; with the
    later half of them; and without; each filled up with what the gate lets through. What wins most time is taken.
    Raises ModelError if no convolution can be quantised within ``max_drop`` (dB of luma against the ground truth) and
    ``min_fidelity`` (dB against float32) on the held-out pictures.
    """
    attempt = _Attempts(model, measured, gate, max_drop, min_fidelity)
    found: list[Selection] = []
    failures: list[str] = []
    every = _sums(model, measured)
    for sums in (every, every[len(every) // 2 :], []) if every else ([],):
        budget = 10 ** (-(min_fidelity - _MARGIN) / 10)
        while chosen := select_within_budget(measured, budget, sums=sums):
            tried, failures = attempt(chosen, sums)
            if not failures:
                found.append(tried)
                break
            # the dearest go, and as many more as the gate's measure says that the sum of errors was too small
            missing = min_fidelity - tried.verdict.fidelity
            short = max(_STEP, missing) if missing > 0 else _BLIND_STEP
            spent = sum(each.error for each in chosen)
            budget = min(spent * 10 ** (-short / 10), spent - max(chosen, key=lambda each: each.error).error * 0.1)
    if not found:
        raise ModelError(
            f"{name} loses too much in int8 ({'; '.join(failures) or 'every layer alone does'}): build it with "
            "--precision fp16, or allow more with --max-drop"
        )
    return max((_filled(each, measured, attempt) for each in found), key=lambda each: each.won)


def _filled(start: Selection, measured: list[Sensitivity], attempt: _Attempts) -> Selection:
    """``start`` and what else the gate lets through."""
    best, share = start, 1.0
    for _ in range(_FILLS):
        more = _spend_rest(best, measured, share)
        if not more:
            break
        tried, failures = attempt([*best.chosen, *more], best.sums)
        if failures:
            share /= 2
        else:
            best = tried
    return best


class _Attempts:
    """Quantises some layers and has the gate judge what comes out."""

    def __init__(
        self, model: ir.Model, measured: list[Sensitivity], gate: Gate, max_drop: float, min_fidelity: float
    ) -> None:
        self._model, self._measured, self._gate = model, measured, gate
        self._asked = {"max_drop": max_drop, "min_fidelity": min_fidelity}

    def __call__(self, chosen: list[Sensitivity], sums: list[str]) -> tuple[Selection, list[str]]:
        """The network with these in int8, and what does not hold of it."""
        chosen = sorted(chosen, key=lambda each: each.site.number)
        candidate = quantised(self._model, {each.site.name: each.conv for each in chosen}, shared=sums)
        verdict = self._gate.judge(candidate)
        failures = verdict.failures(**self._asked)
        _log.info(
            "int8: %d of %d convolutions, %d sums: %.1f dB%s",
            *(len(chosen), len(self._measured), len(sums), verdict.fidelity),
            "".join(f", {failure}" for failure in failures),
        )
        return Selection(candidate, chosen, sums, verdict, **self._asked), failures


def _spend_rest(selection: Selection, measured: list[Sensitivity], share: float) -> list[Sensitivity]:
    """Layers that a share of what the gate left over pays for: the steps down to a choice that passes are coarse, and
    errors may add up to less than their sum."""
    spent, told = sum(each.error for each in selection.chosen), 10 ** (-selection.verdict.fidelity / 10)
    left = (10 ** (-selection.min_fidelity / 10) - told) * spent / told * share
    return select_within_budget([each for each in measured if each not in selection.chosen], left, sums=selection.sums)


def select_within_budget(
    measured: list[Sensitivity], budget: float, *, sums: Collection[str] = ()
) -> list[Sensitivity]:
    """The layers whose errors, added up as noise does, stay within ``budget``, and that win much time for it.

    Cheapest per second won first; and, since one large layer may be worth more than all that is left of the budget
    after small ones, the same again after each of them: the best of these.
    """
    order = sorted(measured, key=lambda each: each.error / max(each.won(sums), 1e-30))
    tries = [_take_within_budget(order, budget, sums)]
    tries += [
        _take_within_budget([first, *(each for each in order if each is not first)], budget, sums) for first in order
    ]
    best = max(tries, key=lambda chosen: sum(each.won(sums) for each in chosen))
    return sorted(best, key=lambda each: each.site.number)


def _take_within_budget(order: list[Sensitivity], budget: float, sums: Collection[str]) -> list[Sensitivity]:
    chosen, spent = [], 0.0
    for each in order:
        if each.won(sums) <= 0 or spent + each.error > budget:
            continue
        chosen.append(each)
        spent += each.error
    return chosen


def _sums(model: ir.Model, chosen: list[Sensitivity]) -> list[str]:
    """Tensors that additions read and one of these convolutions, too."""
    added = {value.name for node in model.graph if node.op_type == "Add" for value in node.inputs if value is not None}
    return list(dict.fromkeys(each.site.source for each in chosen if each.site.source in added))


def _report(measured: list[Sensitivity], selection: Selection) -> dict[str, Any]:
    return {
        "layers": [
            {
                "number": each.site.number,
                "name": each.site.name,
                "shape": str(each.site),
                "fidelity": round(each.fidelity, 2),
                "won": round(each.won(selection.sums) / each.total, 5),
                "range": each.conv.rule,
                "int8": each in selection.chosen,
            }
            for each in measured
        ],
        "sums": len({each.site.source for each in selection.chosen} & set(selection.sums)),
        "won": round(selection.won, 4),
        "time": SOURCE,
        "max_drop": selection.max_drop,
        "min_fidelity": selection.min_fidelity,
        "gate": asdict(selection.verdict),
    }
