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
from exec_env.calibration import impact, liquidity, overnight, prices, said, sanity
from exec_env.calibration.evidence import Evidence, strong
from exec_env.data.market_file import NIGHTS, UNITS, MarketFile, Parameter
from exec_env.data.ticks import Slices, read
from exec_env.market.market import BPS, Market
from exec_env.market.order import Order

_BINS = 13
_FEWEST_SLICES, _FEWEST_DAYS = 50, 20
_FEWEST = 10  # slices with trades, and blocks with flow: of fewer there is no error, so no estimate
_OF_DAYS = ("volatility", "daily_volume")  # what daily bars tell
_FROM = {
    "data": "estimated",
    "prior": "the data cannot tell, or too weakly (what they say in brackets)",
    "given": "by choice",
}

Found = dict[str, Evidence]
"""By field of Market."""


@dataclass(frozen=True)
class Calibration:
    """A calibrated market, with all that its report shows."""

    file: MarketFile
    slices: Slices
    found: Found
    """What the data say, be it much or little."""
    factor: liquidity.Factor
    response: impact.Response | None
    """The price's answer to flow; None where flow is not known."""

    @property
    def market(self) -> Market:
        """The market."""
        return self.file.market()

    @property
    def estimates(self) -> dict[str, Estimate]:
        """What the data say, be it much or little; by field of Market."""
        return {name: evidence.estimate for name, evidence in self.found.items()}

    @property
    def twap(self) -> list[sanity.TwapCost]:
        """What TWAP over a day costs in the market."""
        return [sanity.TwapCost(**entry) for entry in self.file.reported["twap"]]

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
        return "\n".join([*lines, "; ".join(said), *self.file.remarks, sanity.sentence(self.twap)])


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
        InputError: when there are fewer than 50 slices, or 20 daily bars, or 10 in which there is a trade; where the
            price has no volatility but noise; for an exponent that Market refuses.
    """
    rows, needed = len(slices.frame), _FEWEST_DAYS if slices.daily else _FEWEST_SLICES
    if rows < needed:
        what = "days" if slices.daily else "slices"
        raise InputError(f"{slices.sources[0]['file']}: {rows} {what}; a calibration needs at least {needed}")
    if (traded := int((slices.frame["volume"] > 0).sum())) < _FEWEST:
        raise InputError(
            f"{slices.sources[0]['file']}: trades in {traded} slices; a calibration needs {_FEWEST} such at least"
        )
    data, block, base = _columns(slices), blocks(slices.day), prior or Market()
    price = float(data["mid"].mean())
    seen = impact.exponent_by_walk(slices, block)
    delta = _chosen(exponent, seen, base)
    slope = _slope(data, delta)
    depth = data.get("depth") if slope is None else 1 / slope
    if slices.daily:
        factor = liquidity.absent(data["volume"])
    else:
        views = data["volume"], data["spread"], depth, slices.new, slices.slice_length, slices.time_of_day
        factor = liquidity.fit(*views, base.liquidity_reversion)
    if seen is None:
        seen = impact.exponent_by_cost(slices, factor.impact, block)
        delta = _chosen(exponent, seen, base)
    part = base.reference_participation if delta.value != 1 else Market.reference_participation
    base = replace(base, impact_exponent=delta.value, reference_participation=part)
    response, c = _prices(data, factor, slices.new, block, slices.slice_length, price, base.resilience)
    found = (
        _plain(data, slices, block, price, response, factor)
        | _liquidity(data["spread"], factor, c)
        | _temporary(data, slices, block, slope, factor, delta, part)
        | _response(response)
    )
    found |= overnight.evidence(slices, found["volatility"].estimate)
    if slices.daily:
        found = {name: found[name] for name in _OF_DAYS}
    if exponent == "fit" and seen is not None:
        found["impact_exponent"] = Evidence(
            seen, "takers' concession on shares, in logs of the book or by least squares"
        )
    parameters = _parameters(found, price, base, slices)
    if exponent != "fit":
        parameters["impact_exponent"] = Parameter(delta.value, "given", how="what temporary impact is estimated beside")
    parameters["reference_participation"] = Parameter(part, "given", how="where temporary impact does not depend on δ")
    reported, remarks = _reported(slices, seen, response), said.remarks(slices, parameters)
    # Noises of the prior are those of its slices.
    length = MarketFile.slice_length if slices.daily else slices.slice_length
    file = MarketFile(parameters, length, said.sample(slices), slices.sources, reported, remarks)
    reported["twap"] = [cost._asdict() for cost in sanity.twap(file.market(), length)]
    return Calibration(file, slices, found, factor, response)


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
    passing = response.passing if response is not None else 0.0
    sigma = prices.volatility(data["mid"] - passing * data["mid"] / price, slices.session, block, dt)
    how = "two scales of the mid"
    if slices.daily:
        sigma, how = prices.volatility_of_days(data["mid"], data["close"], block), "open to close"
    volume = jackknife(np.stack([data["volume"], ones], 1), block, lambda s: s[0] / s[1]).scaled(1 / dt)
    found: Found = {
        "volatility": Evidence(sigma, how),
        "daily_volume": Evidence(volume, "mean"),
        "volume_noise": _noise(factor, factor.volume_noise)
        if liquidity.varies(data["volume"])
        else _never("the volume never differs"),
    }
    if np.any(data["spread"]):
        spread = jackknife(np.stack([data["spread"] / data["mid"], ones], 1), block, lambda s: s[0] / s[1])
        found["half_spread"] = Evidence(spread.scaled(0.5 / BPS), "mean over time")
    elif slices.half_spread is not None and math.isfinite(slices.half_spread.error):
        found["half_spread"] = Evidence(slices.half_spread, "EDGE, of the bars")
    return found


def _noise(factor: liquidity.Factor, estimate: Estimate) -> Evidence:
    """What a column varies by beyond the factor."""
    return Evidence(estimate, "state space" if factor.limit is None else "standard deviation of the logarithm")


def _never(how: str) -> Evidence:
    """Of a column that never differs: nothing, and that is sure."""
    return Evidence(Estimate(0.0, 0.0), how, (0.0, 0.0))


def _liquidity(spread: np.ndarray, factor: liquidity.Factor, c: Estimate) -> Found:
    """What the factor of liquidity says; ``c`` is the elasticity of volatility."""
    found: Found = {}
    if factor.limit is not None:
        how = "no common factor is clearly more likely than none; upper limit at the prior's reversion"
        found["liquidity_volatility"] = Evidence(factor.volatility, how, (0.0, factor.limit))
    elif factor.reversion is not None:
        found["liquidity_reversion"] = Evidence(factor.reversion, "state space")
        found["liquidity_volatility"] = Evidence(factor.volatility, "state space")
        found["volatility_elasticity"] = Evidence(c, "gamma regression of squared moves on smoothed liquidity")
        if factor.elasticity and factor.spread_noise:
            found["spread_elasticity"] = Evidence(factor.elasticity, "state space")
    if factor.spread_noise:
        found["spread_noise"] = _noise(factor, factor.spread_noise)
    elif np.any(spread):
        found["spread_noise"] = found["spread_elasticity"] = _never("the spread never differs")
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
        found["temporary_impact"] = Evidence(eta.scaled(slices.slice_length), how)
        if factor.depth_noise:
            found["impact_noise"] = _noise(factor, factor.depth_noise)
    elif "cost" in data and np.any(data["flow"]):
        eta = impact.temporary_by_cost(data["cost"], data["flow"], factor.impact, data["volume"], block, delta, part)
        how = "takers' cost beyond the touch on their net flow"
        found["temporary_impact"] = Evidence(eta.scaled(slices.slice_length), how)
    return found


def _response(response: impact.Response | None) -> Found:
    """The price's answer to flow: permanent and transient impact."""
    if response is None:
        return {}
    how, alone = f"response of the mid to signed flow; R² {response.explained:.2g}", response.permanent_interval
    gamma, (value, error) = Evidence(response.permanent, how, alone), response.transient
    if alone is None:
        rho = Evidence(response.resilience, how)
        return {"permanent_impact": gamma, "transient_impact": Evidence(response.transient, how), "resilience": rho}
    if not gamma.strong("permanent_impact"):  # neither can be told from the other
        return {"permanent_impact": gamma, "transient_impact": Evidence(Estimate(value, math.inf), how)}
    gamma = gamma._replace(how=f"{how}; alone, for no push that reverts shows")
    how = "no push that reverts shows in the response; upper limit at the prior's resilience"
    kappa = Evidence(Estimate(0.0, error), how, (0.0, max(value, 0.0) + Z95 * error))
    return {"permanent_impact": gamma, "transient_impact": kappa}


def _chosen(exponent: float | Literal["fit"], seen: Estimate | None, base: Market) -> Estimate:
    """δ as it is wanted, or as it is seen if that is strong; without error where it is not from the data."""
    if exponent == "fit":
        return seen if seen is not None and strong("impact_exponent", seen) else Estimate(1.0, 0.0)
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
    resilience: float,
) -> tuple[impact.Response | None, Estimate]:
    """Answer to flow, and the volatility's elasticity, each with the other taken out.

    ``resilience`` is the prior's, at which transient impact could be hidden where none shows.
    """
    mid = data["mid"]
    move = np.where(np.r_[new[1:], True], np.nan, np.diff(mid, append=np.nan)) * price / mid
    if "flow" not in data or len(np.unique(block[data["flow"] != 0])) < _FEWEST:
        return None, prices.elasticity(move, factor.mean, block)
    even = impact.response(move, data["flow"], np.ones(len(mid)), new, block, dt)
    c = prices.elasticity(move - even.fitted, factor.mean, block)
    weight = np.exp(-c.value * factor.mean) if strong("volatility_elasticity", c) else np.ones(len(mid))
    # Where γ turns out too weak the rest stays as it is beside the γ that is seen: beside the prior's it would take up
    # what γ does, and be biased.
    found = impact.response(move, data["flow"], weight, new, block, dt)
    # A κ whose ρ is not seen would be played with the prior's, and so be another push than the one in the data.
    if not (strong("transient_impact", found.transient) and strong("resilience", found.resilience)):
        found = impact.lasting(move, data["flow"], weight, new, block, dt, resilience)
    return found, c


def _parameters(found: Found, price: float, base: Market, slices: Slices) -> dict[str, Parameter]:
    if not found["volatility"].strong("volatility"):
        value, error = found["volatility"].estimate
        raise InputError(
            f"{slices.sources[0]['file']}: the mid moves to and fro but hardly away: its volatility is {value:.2g} ± "
            f"{error:.2g} a day, so that nothing has a scale; take longer slices, or more of them"
        )
    prior = base.rescaled(price, found["volatility"].estimate.value, found["daily_volume"].estimate.value)
    parameters: dict[str, Parameter] = {}
    for name in UNITS:
        if name == "arrival_price":
            parameters[name] = Parameter(price, "data", how="mean of the mid")
        elif name == "volume_profile":
            parameters[name] = _profile(slices, base)
        elif name in NIGHTS and name not in found:
            continue
        elif name not in found:
            parameters[name] = Parameter(getattr(prior, name), "prior", how=_why(name))
        else:
            evidence = found[name]
            value, error = float(evidence.estimate.value), float(evidence.estimate.error)
            if evidence.strong(name):
                parameters[name] = Parameter(value, "data", error, evidence.interval(name), how=evidence.how)
            else:
                finite = error if math.isfinite(error) else None
                how = f"too weak in the data; seen by {evidence.how}"
                parameters[name] = Parameter(getattr(prior, name), "prior", finite, None, value, how)
    return parameters


def _why(name: str) -> str:
    reasons = {
        "temporary_impact": "there are neither levels of a book nor trades; scaled by sigma S0 / V",
        "permanent_impact": "there is no signed flow, or too little; scaled by sigma S0 / V",
        "transient_impact": "there is no signed flow, or too little; scaled by sigma S0 / V",
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
        shape.append(jackknife(sums, day, lambda s: s[0] / max(s[1], 1.0) * s[3] / max(s[2], 1e-300)))
    return np.array([e.value for e in shape]), np.array([e.error for e in shape])


def _profile(slices: Slices, base: Market) -> Parameter:
    shape = _volume_shape(slices)
    if shape is None:
        return Parameter(base.volume_profile, "prior", how="fewer than five days, or daily bars")
    curves = {name: Market(volume_profile=name).profile(Order(n_steps=_BINS)) for name in ("flat", "u-shaped")}
    best = min(curves, key=lambda name: float(((shape[0] - curves[name]) ** 2).sum()))
    return Parameter(best, "data", how="the nearer to the day's; of an order over the whole day")


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
