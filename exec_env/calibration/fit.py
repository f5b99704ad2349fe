"""From slices to a market: what the data identify is estimated, the rest is the prior's, and each says which it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from exec_env.base.bootstrap import Z95
from exec_env.base.errors import InputError
from exec_env.base.jackknife import Estimate, blocks, jackknife
from exec_env.calibration import impact, liquidity, prices
from exec_env.data.market_file import UNITS, MarketFile, Parameter, positive
from exec_env.data.ticks import Slices, read
from exec_env.market.market import BPS, Market

WEAK = {"volatility_elasticity": 0.25, "spread_elasticity": 0.25, "impact_exponent": 0.25}
"""Standard error above which the prior is better than the estimate, of powers."""
_WEAK_IMPACT = 0.5
_WEAK_OTHERS = 1.0
"""The same relative to the estimate: of impacts, whose signs have to be clear, and of all else."""
_LIKELIHOOD = 12.0  # log likelihood ratio, at least, for there to be a factor
_BINS = 13
_FEWEST_SLICES, _FEWEST_DAYS = 50, 20
_OF_DAYS = ("volatility", "daily_volume")  # what daily bars tell
_FROM = {
    "data": "estimated",
    "prior": "the data cannot tell, or too weakly (what they say in brackets)",
    "given": "by choice",
}

Found = dict[str, tuple[Estimate, str]]
"""By field of Market: what the data say, and how that was estimated."""


@dataclass(frozen=True)
class Calibration:
    """A calibrated market, with all that its report shows."""

    file: MarketFile
    slices: Slices
    estimates: dict[str, Estimate]
    """What the data say, be it much or little; by field of Market."""
    factor: liquidity.Factor
    response: impact.Response | None
    """The price's answer to flow; None where flow is not known."""

    @property
    def market(self) -> Market:
        """The market."""
        return self.file.market()

    def table(self) -> str:
        """Parameters as text, for a terminal."""
        lines = [f"{'parameter':22} {'value':>12} {'std error':>11}  {'from':6} unit"]
        for name, p in self.file.parameters.items():
            value = p.value if isinstance(p.value, str) else f"{p.value:.5g}"
            error = f"{p.standard_error:.2g}" if p.standard_error is not None and p.seen is None else "-"
            lines.append(f"{name:22} {value:>12} {error:>11}  {p.source:6} {UNITS[name]}{_weak(p)}")
        for name, entry in self.file.reported.items():
            if isinstance(entry, dict) and "value" in entry:
                lines.append(f"{name:22} {entry['value']:>12.5g} {entry['standard_error']:>11.2g}  {'shown':6} -")
        said = [f"{p}: {what}" for p, what in _FROM.items() if p in {p.source for p in self.file.parameters.values()}]
        if self.file.reported.get("impact_exponent"):
            said.append("shown: what the data say of δ, used or not (--exponent)")
        return "\n".join([*lines, "; ".join(said), *self.file.remarks])


def calibrate(
    paths: Sequence[str | Path], prior: Market | None = None, exponent: float | Literal["fit"] = 1.0, **reading: Any
) -> Calibration:
    """``of`` the slices that ``exec_env.data.ticks.read`` makes of files with the options ``reading``.

    Raises:
        InputError: for data that cannot be right, or do not suffice.
    """
    return of(read(paths, **reading), prior, exponent)


def of(slices: Slices, prior: Market | None = None, exponent: float | Literal["fit"] = 1.0) -> Calibration:
    """A market from slices.

    Args:
        slices: the data.
        prior: where parameters come from that the data cannot tell; its impact is scaled by ``Market.rescaled``.
        exponent: δ, beside which η is estimated. 1 is linear impact, which has a bound; "fit" is what the data say, and
            1 where they say too little.

    Raises:
        InputError: when there are fewer than 50 slices, or 20 daily bars, or for an exponent that Market refuses.
    """
    rows, needed = len(slices.frame), _FEWEST_DAYS if slices.daily else _FEWEST_SLICES
    if rows < needed:
        what = "days" if slices.daily else "slices"
        raise InputError(f"{slices.sources[0]['file']}: {rows} {what}; a calibration needs at least {needed}")
    data, block, base = _columns(slices), blocks(slices.day), prior or Market()
    price = float(data["mid"].mean())
    seen = impact.exponent_by_walk(slices, block)
    delta = _chosen(exponent, seen, base)
    slope = _slope(data, delta)
    depth = data.get("depth") if slope is None else 1 / slope
    if slices.daily:
        factor = liquidity.absent(data["volume"])
    else:
        views = data["volume"], data["spread"], depth
        factor = liquidity.fit(*views, slices.new, slices.slice_length, slices.time_of_day)
    if seen is None:
        seen = impact.exponent_by_cost(slices, factor.impact, block)
        delta = _chosen(exponent, seen, base)
    part = base.reference_participation if delta.value != 1 else Market.reference_participation
    base = replace(base, impact_exponent=delta.value, reference_participation=part)
    response, c = _prices(data, factor, slices.new, block, slices.slice_length, price)
    found = (
        _plain(data, slices, block, price, response, factor)
        | _liquidity(factor, c)
        | _temporary(data, slices, block, slope, factor, delta, part)
        | _response(response)
    )
    if slices.daily:
        found = {name: found[name] for name in _OF_DAYS}
    if exponent == "fit" and seen is not None:
        found["impact_exponent"] = (seen, "takers' concession on shares, in logs of the book or by least squares")
    parameters = _parameters(found, price, base, slices)
    if exponent != "fit":
        parameters["impact_exponent"] = Parameter(delta.value, "given", how="what temporary impact is estimated beside")
    parameters["reference_participation"] = Parameter(part, "given", how="where temporary impact does not depend on δ")
    reported = _reported(slices, seen, response)
    # Noises of the prior are those of its slices.
    length = MarketFile.slice_length if slices.daily else slices.slice_length
    file = MarketFile(parameters, length, _sample(slices), slices.sources, reported, _remarks(slices))
    return Calibration(file, slices, {name: e for name, (e, _) in found.items()}, factor, response)


def _columns(slices: Slices) -> dict[str, np.ndarray]:
    """Every column but the time, as numbers, without what rows do not tell: an estimated spread, and a day's push."""
    data = {str(name): slices.frame[name].to_numpy(np.float64) for name in slices.frame if name != "time"}
    if slices.half_spread is not None:
        data["spread"] = np.zeros(len(slices.frame))
    if slices.daily:
        data.pop("flow", None)
    return data


def _slope(data: dict[str, np.ndarray], delta: Estimate) -> np.ndarray | None:
    """Slope of the book's cost at the exponent δ, NaN where it is not known; None without a book."""
    if "slope" not in data:
        return None
    slope = np.where(data["slope"] > 0, data["slope"], np.nan)
    return slope if delta.value == 1 else slope * np.exp((1 - delta.value) * data["walk_size"])


def _plain(
    data: dict[str, np.ndarray],
    slices: Slices,
    block: np.ndarray,
    price: float,
    response: impact.Response | None,
    factor: liquidity.Factor,
) -> Found:
    """Volatility, volume with its noise, and spread."""
    dt, ones = slices.slice_length, np.ones(len(slices.frame))
    # What is still to revert of the takers' push is no volatility.
    passing = response.passing if response is not None and _reverts(response) else 0.0
    sigma = prices.volatility(data["mid"] - passing * data["mid"] / price, slices.session, block, dt)
    how = "two scales of the mid"
    if slices.daily:
        sigma, how = prices.volatility_of_days(data["mid"], data["close"], block), "open to close"
    volume = jackknife(np.stack([data["volume"], ones], 1), block, lambda s: s[0] / s[1]).scaled(1 / dt)
    found: Found = {
        "volatility": (sigma, how),
        "daily_volume": (volume, "mean"),
        "volume_noise": (factor.volume_noise, "state space"),
    }
    if np.any(data["spread"]):
        spread = jackknife(np.stack([data["spread"] / data["mid"], ones], 1), block, lambda s: s[0] / s[1])
        found["half_spread"] = (spread.scaled(0.5 / BPS), "mean over time")
    elif slices.half_spread is not None and math.isfinite(slices.half_spread.error):
        found["half_spread"] = (slices.half_spread, "EDGE, of the bars")
    return found


def _liquidity(factor: liquidity.Factor, c: Estimate) -> Found:
    """What the factor of liquidity says; ``c`` is the elasticity of volatility."""
    found: Found = {}
    if factor.likelihood - factor.without > _LIKELIHOOD:
        found["liquidity_reversion"] = (factor.reversion, "state space")
        found["liquidity_volatility"] = (factor.volatility, "state space")
        found["volatility_elasticity"] = (c, "gamma regression of squared moves on smoothed liquidity")
        if factor.elasticity and factor.spread_noise:
            found["spread_elasticity"] = (factor.elasticity, "state space")
    if factor.spread_noise:
        found["spread_noise"] = (factor.spread_noise, "state space")
    return found


def _temporary(
    data: dict[str, np.ndarray],
    slices: Slices,
    block: np.ndarray,
    slope: np.ndarray | None,
    factor: liquidity.Factor,
    delta: Estimate,
    part: float,
) -> Found:
    """Temporary impact: of the book where it has a slope, else of what takers paid."""
    found: Found = {}
    if slope is not None and np.isfinite(slope).any():
        eta = impact.temporary_by_walk(slope, data["walk_size"], data["volume"], block, delta, part)
        how = "mean cost of taking a slice's shares from the book at once"
        found["temporary_impact"] = (eta.scaled(slices.slice_length), how)
        if factor.depth_noise:
            found["impact_noise"] = (factor.depth_noise, "state space, of the book's slope")
    elif "cost" in data and np.any(data["flow"]):
        eta = impact.temporary_by_cost(data["cost"], data["flow"], factor.impact, data["volume"], block, delta, part)
        found["temporary_impact"] = (eta.scaled(slices.slice_length), "takers' cost beyond the touch on their net flow")
    return found


def _reverts(response: impact.Response) -> bool:
    """Whether a push that reverts shows in the data."""
    return _strong("transient_impact", response.transient)


def _response(response: impact.Response | None) -> Found:
    """The price's answer to flow: permanent and transient impact."""
    if response is None:
        return {}
    how = f"response of the mid to signed flow; R² {response.explained:.2g}"
    found: Found = {"permanent_impact": (response.permanent, how), "transient_impact": (response.transient, how)}
    if _reverts(response):  # else it is the speed of nothing
        found["resilience"] = (response.resilience, how)
    return found


def _chosen(exponent: float | Literal["fit"], seen: Estimate | None, base: Market) -> Estimate:
    """δ as it is wanted, or as it is seen if that is strong; without error where it is not from the data."""
    if exponent == "fit":
        return seen if seen is not None and _strong("impact_exponent", seen) else Estimate(1.0, 0.0)
    if isinstance(exponent, str):
        raise InputError(f"exponent = {exponent!r}: must be a number or 'fit'")
    linear = Market.reference_participation
    return Estimate(replace(base, impact_exponent=exponent, reference_participation=linear).impact_exponent, 0.0)


def _prices(
    data: dict[str, np.ndarray],
    factor: liquidity.Factor,
    new: np.ndarray,
    block: np.ndarray,
    dt: float,
    price: float,
) -> tuple[impact.Response | None, Estimate]:
    """Answer to flow, and the volatility's elasticity, each with the other taken out."""
    mid = data["mid"]
    move = np.where(np.r_[new[1:], True], np.nan, np.diff(mid, append=np.nan)) * price / mid
    if "flow" not in data or not np.any(data["flow"]):
        return None, prices.elasticity(move, factor.mean, block)
    even = impact.response(move, data["flow"], np.ones(len(mid)), new, block, dt)
    c = prices.elasticity(move - even.fitted, factor.mean, block)
    weight = np.exp(-c.value * factor.mean) if _strong("volatility_elasticity", c) else np.ones(len(mid))
    # Where γ turns out too weak the rest stays as it is beside the γ that is seen: beside the prior's it would take up
    # what γ does, and be biased.
    return impact.response(move, data["flow"], weight, new, block, dt), c


def _strong(name: str, estimate: Estimate) -> bool:
    """Whether the estimate says more than the prior."""
    if name == "impact_exponent" and not 0.1 <= estimate.value <= 2:
        return False
    if name in WEAK:
        return estimate.error <= WEAK[name]
    limit = _WEAK_IMPACT if name.endswith("_impact") else _WEAK_OTHERS
    return estimate.value > 0 and estimate.error <= limit * estimate.value


def interval(name: str, estimate: Estimate) -> list[float]:
    """95 % interval; of a positive parameter that of its logarithm."""
    value, error = estimate
    if positive(name) and value > 0:
        factor = math.exp(min(Z95 * error / value, 700.0))
        return [value / factor, value * factor]
    return [value - Z95 * error, value + Z95 * error]


def _parameters(found: Found, price: float, base: Market, slices: Slices) -> dict[str, Parameter]:
    sigma, volume = found["volatility"][0].value, found["daily_volume"][0].value
    if not sigma > 0:
        sigma = base.volatility
    prior = base.rescaled(price, sigma, volume)
    parameters: dict[str, Parameter] = {}
    for name in UNITS:
        if name == "arrival_price":
            parameters[name] = Parameter(price, "data", how="mean of the mid")
        elif name == "volume_profile":
            parameters[name] = _profile(slices, base)
        elif name not in found:
            parameters[name] = Parameter(getattr(prior, name), "prior", how=_why(name))
        else:
            estimate, how = found[name]
            value, error = float(estimate.value), float(estimate.error)
            if _strong(name, estimate):
                low_high = interval(name, estimate)
                parameters[name] = Parameter(value, "data", error, low_high, how=how)
            else:
                finite = error if math.isfinite(error) else None
                parameters[name] = Parameter(
                    getattr(prior, name), "prior", finite, None, value, f"too weak in the data; seen by {how}"
                )
    return parameters


def _why(name: str) -> str:
    reasons = {
        "temporary_impact": "there are neither levels of a book nor trades; scaled by sigma S0 / V",
        "permanent_impact": "there is no signed flow; scaled by sigma S0 / V",
        "transient_impact": "there is no signed flow; scaled by sigma S0 / V",
        "impact_exponent": "there are neither levels of a book nor trades",
        "resilience": "no push that reverts shows in the data",
        "impact_noise": "there are no levels of a book",
        "decay_noise": "no data show it",
        "spread_noise": "no spread is recorded, or it never differs",
        "half_spread": "no spread is recorded, or it is zero throughout, or bars do not show it",
    }
    return reasons.get(name, "liquidity does not show in the data")


def _weak(p: Parameter) -> str:
    if p.seen is None:
        return ""
    return f"  (data: {p.seen:.3g} ± {p.standard_error:.2g})" if p.standard_error is not None else f"  ({p.seen:.3g})"


def _volume_shape(slices: Slices) -> tuple[np.ndarray, np.ndarray] | None:
    """Volume of each thirteenth of a day over its mean, and standard errors; None where days are too few."""
    u, day = slices.time_of_day, slices.day
    if u is None:
        return None
    bins = np.minimum((u * _BINS).astype(int), _BINS - 1)
    volume = slices.frame["volume"].to_numpy()
    shape = []
    for b in range(_BINS):
        inside = (bins == b).astype(float)
        sums = np.stack([volume * inside, inside, volume, np.ones_like(volume)], 1)
        shape.append(jackknife(sums, day, lambda s: s[0] / max(s[1], 1.0) / (s[2] / s[3])))
    return np.array([e.value for e in shape]), np.array([e.error for e in shape])


def _profile(slices: Slices, base: Market) -> Parameter:
    shape = _volume_shape(slices)
    if shape is None:
        return Parameter(base.volume_profile, "prior", how="fewer than five days, or daily bars")
    curves = {name: Market(volume_profile=name).profile(_BINS) for name in ("flat", "u-shaped")}
    best = min(curves, key=lambda name: float(((shape[0] - curves[name]) ** 2).sum()))
    return Parameter(best, "data", how="the nearer to the day's; of an order over the whole day")


def _sample(slices: Slices) -> dict[str, Any]:
    frame = slices.frame
    return {
        "slices": len(frame),
        "days": int(slices.day[-1]) + 1,
        "stretches_without_gap": int(slices.new.sum()),
        "first": str(frame["time"].iloc[0]),
        "last": str(frame["time"].iloc[-1]),
        "slice_minutes": slices.slice_length * slices.hours_per_day * 60,
        "hours_per_day": slices.hours_per_day,
        "rows_dropped": dict(slices.cleaner.dropped),
    }


def _reported(slices: Slices, delta: Estimate | None, response: impact.Response | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if delta is not None:
        found["impact_exponent"] = {"value": delta.value, "standard_error": delta.error}
    shape = _volume_shape(slices)
    if shape is not None:
        found["volume_profile"] = {"mean": shape[0].round(4).tolist(), "standard_error": shape[1].round(4).tolist()}
    if response:
        found["price_response"] = [
            {"slices": lag, "mean": float(f"{e.value:.6g}"), "standard_error": float(f"{e.error:.3g}")}
            for lag, e, _ in response.curve
        ]
    return found


def _remarks(slices: Slices) -> list[str]:
    remarks = list(slices.cleaner.remarks)
    shown = remarks[:20] + ([f"and {len(remarks) - 20} more such remarks"] if len(remarks) > 20 else [])
    if slices.cleaner.dropped:
        shown.insert(0, f"bad rows dropped: {sum(slices.cleaner.dropped.values())}")
    return shown
