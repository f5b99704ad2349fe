"""The calibration's report: one HTML page with the data beside the market that was made of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jinja2 import PackageLoader
from matplotlib.figure import Figure
from scipy.special import ndtri

from exec_env.base.bootstrap import Z95
from exec_env.base.errors import InputError, NoBound
from exec_env.base.files import new_file, write_text
from exec_env.calibration import sanity
from exec_env.calibration.fit import Calibration
from exec_env.calibration.liquidity import varies, without_profile
from exec_env.data.market_file import UNITS
from exec_env.harness.reports.report import PAGE_STYLE, picture, templates
from exec_env.market.market import BPS
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.options import make_problem
from exec_env.optimum import lq, relaxation

_DATA, _MODEL = "#56B4E9", "#D55E00"
_LAGS = 40


def write_report(calibration: Calibration, out: str | Path) -> None:
    """Write the page.

    Raises:
        InputError: for a file that exists.
    """
    write_text(new_file(out), render(calibration))


def render(calibration: Calibration) -> str:
    """The page; the same calibration gives the same bytes."""
    file, market = calibration.file, calibration.market
    order, has_cost = make_problem(market=file).order, "cost" in calibration.slices.frame
    page = templates(PackageLoader("exec_env", "calibration")).get_template("report.html")
    try:
        costs, cost, on_cost = _sensitivity(calibration, order)
    except NoBound as error:
        costs, cost, on_cost = {}, float("nan"), str(error)
    with mpl.rc_context(PAGE_STYLE):
        pictures = {
            "distributions": picture(_distributions(calibration), 11),
            "autocorrelation": picture(_autocorrelation(calibration), 5.6),
            "residuals": picture(_residuals(calibration), 5.6),
            "impact": picture(_impact(calibration), 11) if calibration.response else None,
            "sensitivity": picture(_bars(costs, cost), 11) if costs else None,
        }
    return page.render(
        rows=_rows(calibration),
        known=sum(p.source == "data" for p in file.parameters.values()),
        market=market,
        order=order,
        cost=cost,
        on_cost=on_cost,
        sample=file.sample,
        has_cost=has_cost,
        sources=file.sources,
        remarks=file.remarks,
        exponent=file.reported.get("impact_exponent"),
        pictures=pictures,
        twap=calibration.twap,
        shown=f"With half spread, without a cap; {sanity.SHOWN}",
    )


def _rows(calibration: Calibration) -> list[dict[str, str]]:
    rows = []
    for name, p in calibration.file.parameters.items():
        how = p.how if p.seen is None else f"{p.how}: {p.seen:.3g}"
        known = p.seen is None and p.standard_error is not None
        rows.append(
            {
                "name": name,
                "value": p.value if isinstance(p.value, str) else _number(p.value),
                "error": f"{p.standard_error:.2g}" if known else "–",
                "interval": f"{_number(p.interval[0])} … {_number(p.interval[1])}" if p.interval else "–",
                "unit": UNITS[name],
                "source": p.source,
                "how": how,
            }
        )
    return rows


def _number(value: float) -> str:
    """Four digits; all of those before the point."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.4g}"


def _simulated(calibration: Calibration) -> Paths:
    """As many slices as the data have, at least 2000, in stretches as long as theirs."""
    slices = calibration.slices
    n_steps = max(int(np.bincount(slices.session).max()), 2)
    n_steps = min(n_steps, 2000)
    order = Order(n_steps=n_steps, slice_length=slices.slice_length)
    return Paths.simulate(calibration.market, order, max(2000, len(slices.frame)) // n_steps + 1, seed=0)


def _distributions(calibration: Calibration) -> Figure:
    frame, market = calibration.slices.frame, calibration.market
    made = _simulated(calibration).slices
    move = np.diff(np.log(frame["mid"]))[~calibration.slices.new[1:]] / BPS
    panels: list[tuple[str, Any, Any]] = [
        (
            "log₁₀ half spread [bps]",
            frame["spread"] / frame["mid"] / 2 / BPS,
            made.half_spread / market.arrival_price / BPS,
        ),
        ("log₁₀ volume of a slice [shares]", frame["volume"], made.volume),
    ]
    if "slope" in frame or "depth" in frame:
        depth = 1 / frame["slope"].where(frame["slope"] > 0) if "slope" in frame else frame["depth"]
        panels.append(
            ("log₁₀ depth over its median", depth / depth.median(), np.median(made.temporary) / made.temporary)
        )
    figure = Figure(figsize=(11, 3.0), layout="constrained")
    axes = figure.subplots(1, len(panels) + 1)
    for axis, (label, data, model) in zip(axes, panels, strict=False):
        logs = [np.log10(x[np.isfinite(x) & (x > 0)]) for x in (np.asarray(data), np.asarray(model).ravel())]
        _pair(axis, logs[0], logs[1], label)
    _pair(axes[-1], move, made.price_shock.ravel() / market.arrival_price / BPS, "move of the mid in a slice [bps]")
    axes[0].legend(["market", "data"], frameon=False)
    return figure


def _pair(axis: Any, data: np.ndarray, model: np.ndarray, label: str) -> None:
    low, high = np.quantile(data, [0.002, 0.998])
    margin = max(0.15 * (high - low), 0.05)  # a spread can be the same throughout
    bins = np.linspace(low - margin, high + margin, 50)
    axis.hist(model, bins, density=True, histtype="step", color=_MODEL, lw=1.5)
    axis.hist(data, bins, density=True, color=_DATA, alpha=0.6)
    axis.set(xlabel=label, yticks=[])


def _autocorrelation(calibration: Calibration) -> Figure:
    slices, market = calibration.slices, calibration.market
    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axis = figure.subplots()
    a = np.exp(-market.liquidity_reversion * slices.slice_length)
    views = {"volume": (1.0, market.volume_noise), "spread": (market.spread_elasticity, market.spread_noise)}
    views = {name: view for name, view in views.items() if varies(slices.frame[name].to_numpy())}
    for (name, (loading, noise)), colour in zip(views.items(), (_DATA, _MODEL), strict=False):
        column = slices.frame[name].to_numpy()
        column = without_profile(np.log(np.where(column > 0, column, np.nan)), slices.time_of_day)
        lags = np.arange(1, min(_LAGS, int(np.bincount(slices.session).max()) - 1) + 1)
        seen = [_correlation(column, slices.session, int(lag)) for lag in lags]
        common = (loading * market.liquidity_volatility) ** 2
        axis.plot(lags, seen, "o", ms=3, color=colour, label=f"log {name}")
        axis.plot(lags, common / max(common + noise**2, 1e-300) * a**lags, color=colour, lw=1.5)
    axis.axhline(0, color="0.6", lw=0.8)
    axis.set(xlabel="lag [slices]", ylabel="autocorrelation")
    if views:
        axis.legend(frameon=False)
    return figure


def _correlation(column: np.ndarray, session: np.ndarray, lag: int) -> float:
    both = (session[lag:] == session[:-lag]) & np.isfinite(column[lag:]) & np.isfinite(column[:-lag])
    return float(np.mean((column[lag:] * column[:-lag])[both]) / np.nanvar(column)) if both.any() else float("nan")


def _residuals(calibration: Calibration) -> Figure:
    slices, factor = calibration.slices, calibration.factor
    mid = slices.frame["mid"].to_numpy()
    move = np.diff(mid) / mid[:-1] * calibration.market.arrival_price
    if calibration.response:
        move = move - calibration.response.fitted[:-1]
    move = move * np.exp(-calibration.market.volatility_elasticity * factor.mean[:-1])
    move = move[~slices.new[1:]]
    volume = slices.frame["volume"].to_numpy()
    log = without_profile(np.log(np.where(volume > 0, volume, np.nan)), slices.time_of_day) - factor.mean
    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axis = figure.subplots()
    for label, x, colour in (("moves of the mid", move, _DATA), ("log volume", log[np.isfinite(log)], _MODEL)):
        if x.std() < 1e-9:  # nothing is left
            continue
        x = np.sort((x - x.mean()) / x.std())
        shown = np.unique(np.linspace(0, len(x) - 1, 300).round().astype(int))
        axis.plot(ndtri((shown + 0.5) / len(x)), x[shown], ".", ms=3, color=colour, label=label)
    axis.plot([-4, 4], [-4, 4], color="0.5", lw=1)
    axis.set(xlabel="normal quantile", ylabel="residual / standard deviation", ylim=(-8, 8))
    axis.legend(frameon=False)
    return figure


def _impact(calibration: Calibration) -> Figure:
    response, frame = calibration.response, calibration.slices.frame
    assert response is not None
    panels = 2 if "cost" in frame else 1
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, right = np.resize(figure.subplots(1, panels), 2)
    lags = [lag for lag, _, _ in response.curve]
    means = [e.value for _, e, _ in response.curve]
    left.errorbar(lags, means, [Z95 * e.error for _, e, _ in response.curve], fmt="o", ms=4, color=_DATA)
    market, dt = calibration.market, calibration.slices.slice_length
    kept = float(lq.decay_moments(market, dt)[0]) ** np.array(lags)
    left.plot(lags, market.permanent_impact + market.transient_impact * kept, color=_MODEL)
    left.axhline(0, color="0.6", lw=0.8)
    left.set(xlabel="lag [slices]", ylabel="response [$/share]")
    if panels == 1:
        return figure
    q = np.abs(frame["flow"].to_numpy())
    traded = q > 0
    y, q = frame["cost"].to_numpy()[traded] / q[traded], q[traded]
    groups = np.array_split(np.argsort(q, kind="stable"), 10)
    groups = [g for g in groups if len(g) > 1]
    slope = market.slope(dt)
    fit = slope * calibration.factor.impact[traded] / calibration.factor.impact.mean() * q**market.impact_exponent
    x = [q[g].mean() for g in groups]
    errors = [Z95 * y[g].std() / len(g) ** 0.5 for g in groups]
    right.errorbar(x, [y[g].mean() for g in groups], errors, fmt="o", ms=4, color=_DATA)
    right.plot(x, [fit[g].mean() for g in groups], color=_MODEL)
    right.set(xlabel="net flow of a slice [shares]", ylabel="cost beyond the touch [$/share]")
    return figure


def _sensitivity(calibration: Calibration, order: Order) -> tuple[dict[str, tuple[float, float, bool]], float, str]:
    """Cost at both ends of each parameter's interval, and whether it is from the data; the cost itself [bps]; a remark.

    Power-law impact is linearised; where costs are charged in part, it is the same part at all ends.
    """
    market = calibration.market
    costs: dict[str, tuple[float, float, bool]] = {}
    middle = relaxation.solve(market.linearised(order), order)
    cost = float(middle.cost_bps)
    for name, p in calibration.file.parameters.items():
        if name in ("arrival_price", "volume_profile") or p.source == "given":
            continue
        ends = p.interval if p.source == "data" and p.interval else [p.value / 2, p.value * 2]
        found = []
        for end in ends:
            try:
                alone: dict[str, Any] = {name: end}  # whatever else would follow it is held
                changed = replace(market, **alone)
                found.append(float(lq.solve(changed.linearised(order), order, charged=middle.charged).cost_bps))
            except (InputError, NoBound):  # there no optimum exists, or no such market
                found.append(float("nan"))
        costs[name] = (found[0], found[1], p.source == "data")
    return costs, cost, relaxation.left_out(middle.charged).replace("bound", "optimum")


def _bars(costs: dict[str, tuple[float, float, bool]], cost: float) -> Figure:
    ordered = sorted(costs, key=lambda name: np.nanmax(np.abs(np.subtract(costs[name][:2], cost))))
    figure = Figure(figsize=(11, 0.28 * len(costs) + 1), layout="constrained")
    axis = figure.subplots()
    for row, name in enumerate(ordered):
        low, high, known = costs[name]
        for end, colour in ((low, _DATA), (high, _MODEL)):
            width = np.nan_to_num(end - cost)
            axis.barh(row, width, left=cost, height=0.6, color=colour if known else "none", edgecolor=colour)
    axis.axvline(cost, color="0.3", lw=1)
    axis.set(
        yticks=range(len(ordered)), yticklabels=ordered, xlabel="cost of the optimum [bps]; blue low end, red high"
    )
    return figure
