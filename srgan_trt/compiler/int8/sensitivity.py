"""How much each convolution's quantisation costs in the picture, and how much time it wins."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .activations import Observed, Site
from .comparison import Comparison, decibels
from .quantisation import QuantisedConv, fit, quantised
from .ranges import candidates
from .time_model import high_seconds, seconds_won

if TYPE_CHECKING:
    import onnx_ir as ir

_REFINED = 10
"""Layers, the worst, whose range is chosen by the picture rather than by their own output."""
_CLEAR = 58.0
"""dB above which that wins nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """One convolution, quantised alone."""

    site: Site
    conv: QuantisedConv
    error: float
    """Mean squared, as a fraction of the squared output range."""
    seconds: tuple[float, float]
    """Won per input pixel, modelled (time_model.py): by itself, and where additions read its input in int8, too."""
    total: float
    """Seconds per input pixel of all convolutions in the high precision."""

    @property
    def fidelity(self) -> float:
        """dB against the exact network."""
        return decibels(self.error)

    def won(self, sums: Collection[str] = ()) -> float:
        """Seconds per input pixel, where additions read the tensors ``sums`` in int8, too; may be negative."""
        return self.seconds[self.site.source in sums]


def measure(
    model: ir.Model, found: list[Site], seen: Mapping[str, Observed], comparison: Comparison, broad: Comparison
) -> list[Sensitivity]:
    """Quantises each convolution alone; those that cost the picture most by the range that does best in the picture.

    comparison: on a few pictures; broad: on several times as many, for the few layers whose range is chosen so. A range
    that clips what the few do not have would seem the best on them.
    """
    total = sum(high_seconds(site) for site in found)
    results = []
    for site in found:
        conv = fit(site, seen[site.name])
        results.append(
            Sensitivity(
                site=site,
                conv=conv,
                error=comparison.error(quantised(model, {site.name: conv})),
                seconds=(seconds_won(model, site), seconds_won(model, site, free=True)),
                total=total,
            )
        )
    worst = sorted(results, key=lambda each: -each.error)[:_REFINED]
    results = [
        _refined(model, each, seen[each.site.name], broad)
        if each in worst and each.fidelity < _CLEAR and max(each.seconds) > 0
        else each
        for each in results
    ]
    together: dict[str, list[Sensitivity]] = {}
    for each in results:
        together.setdefault(each.site.source, []).append(each)
    same = {
        each.site.name: each
        for group in together.values()
        if len(group) > 1
        for each in _of_one_range(model, group, seen, broad)
    }
    return [same.get(each.site.name, each) for each in results]


def _of_one_range(
    model: ir.Model, group: list[Sensitivity], seen: Mapping[str, Observed], comparison: Comparison
) -> list[Sensitivity]:
    """Convolutions that read the same tensor get the range that is best for all of them: one pass makes their levels.

    The error is that of all of them, in equal shares.
    """
    best: list[Sensitivity] = []
    for limit, rule in {each.conv.limit: each.conv.rule for each in group}.items():
        convs = [fit(each.site, seen[each.site.name], limits={rule: limit}) for each in group]
        named = {each.site.name: conv for each, conv in zip(group, convs, strict=True)}
        error = comparison.error(quantised(model, named)) / len(group)
        if not best or error < best[0].error:
            best = [replace(each, conv=conv, error=error) for each, conv in zip(group, convs, strict=True)]
    return best


def _refined(model: ir.Model, start: Sensitivity, seen: Observed, comparison: Comparison) -> Sensitivity:
    """Goes from the range that the layer itself chose to the next wider or narrower one while the picture gains."""
    start = replace(start, error=comparison.error(quantised(model, {start.site.name: start.conv})))
    limits = candidates(seen.patches, float(seen.largest.max()))
    rules = sorted(limits, key=lambda rule: limits[rule])
    place, best = rules.index(start.conv.rule), start
    for step in (1, -1):
        other = place + step
        while 0 <= other < len(rules):
            conv = fit(start.site, seen, limits={rules[other]: limits[rules[other]]})
            error = comparison.error(quantised(model, {start.site.name: conv}))
            if error >= best.error:
                break
            best, other = replace(best, conv=conv, error=error), other + step
        if best is not start:
            break
    return best
