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
    won: float
    """Seconds per input pixel, modelled (time_model.py)."""
    share: float
    """Of the network's time that all convolutions in the high precision take."""

    @property
    def fidelity(self) -> float:
        """dB against the exact network."""
        return decibels(self.error)

    @property
    def price(self) -> float:
        """Error per second won: the dearest go back to the high precision first."""
        return self.error / self.won if self.won > 0 else float("inf")


def measure(
    model: ir.Model, found: list[Site], seen: Mapping[str, Observed], comparison: Comparison
) -> list[Sensitivity]:
    """Quantises each convolution alone, by the range that does best in the picture."""
    total = sum(high_seconds(site) for site in found)
    results = []
    for site in found:
        conv = fit(site, seen[site.name], fast=True)
        error = comparison.error(quantised(model, {site.name: conv}))
        won = seconds_won(model, site)
        if decibels(error) < _CLEAR and won > 0:
            conv, error = _best_range(model, site, seen[site.name], comparison, conv, error)
        results.append(Sensitivity(site=site, conv=conv, error=error, won=won, share=won / total))
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
