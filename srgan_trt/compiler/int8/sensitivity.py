"""How much each convolution's quantisation costs in the picture, and how much time it wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .activations import Observed, Site
from .comparison import Comparison, decibels
from .quantisation import QuantisedConv, fit, quantised
from .ranges import candidates
from .time_model import high_seconds, seconds_won

if TYPE_CHECKING:
    import onnx_ir as ir

_CLEAR = 56.0
"""dB above which a layer's range is left as the layer's own output chose it: it costs the picture nothing."""


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

    def won(self, *, shared: bool) -> float:
        """Seconds per input pixel; may be negative."""
        return self.seconds[shared]


def measure(
    model: ir.Model, found: list[Site], seen: Mapping[str, Observed], comparison: Comparison
) -> list[Sensitivity]:
    """Quantises each convolution alone, by the range that does best in the picture."""
    total = sum(high_seconds(site) for site in found)
    results = []
    for site in found:
        conv = fit(site, seen[site.name], fast=True)
        error = comparison.error(quantised(model, {site.name: conv}))
        won = (seconds_won(model, site), seconds_won(model, site, free=True))
        if decibels(error) < _CLEAR:
            conv, error = _best_range(model, site, seen[site.name], comparison, conv, error)
        results.append(Sensitivity(site=site, conv=conv, error=error, seconds=won, total=total))
    return results


def _best_range(
    model: ir.Model, site: Site, seen: Observed, comparison: Comparison, conv: QuantisedConv, error: float
) -> tuple[QuantisedConv, float]:
    for rule, limit in candidates(seen.patches, float(seen.largest.max())).items():
        if rule == conv.rule:
            continue
        other = fit(site, seen, limits={rule: limit}, fast=True)
        found = comparison.error(quantised(model, {site.name: other}))
        if found < error:
            conv, error = other, found
    return conv, error
