"""Print and plot a schedule, or one for each of several risk aversions, and its place on the efficient frontier.

The schedule is the one that is executed where volumes are as expected: what the cap holds back in a slice is spread
over those that follow. Costs are those of the whole problem, as `exec-env evaluate` finds them. The frontier is that of
the model of Almgren and Chriss, without transient impact and cap.

Examples:
  exec-env schedule almgren-chriss
  exec-env schedule almgren-chriss --preset almgren-chriss-2001 --risk-aversion -2e-7
  exec-env schedule static --risk-aversion 1e-5 --shares 400000
  exec-env schedule static --risk-aversion 1e-7 1e-6 1e-5
  exec-env schedule twap --shares 4%adv --start 09:30 --end 15:30 --slice-length 15min
  exec-env schedule lqr --q 0.05 --r 1
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import tyro

from exec_env.base.csv_files import write_csv
from exec_env.base.errors import InputError
from exec_env.base.files import free_folder, new_folder
from exec_env.base.units import money
from exec_env.baselines import lqr
from exec_env.baselines.almgren_chriss import efficient_frontier
from exec_env.baselines.garleanu_pedersen import GarleanuPedersen
from exec_env.baselines.impact import Impact
from exec_env.cli.main import run
from exec_env.cli.options import Maybe, Plain, ProblemOptions, parse, refuse_existing, say_remarks
from exec_env.cli.texts import several
from exec_env.harness.reports import schedule_plots
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.problem import OneAsset
from exec_env.optimum.means import slice_means
from exec_env.optimum.schedule import best_schedule
from exec_env.optimum.schedule_cost import ScheduleCost, at_expected_volume, schedule_cost
from exec_env.optimum.seen import Seen

Model = Literal["almgren-chriss", "static", "garleanu-pedersen", "lqr", "twap", "vwap"]


@dataclass(frozen=True)
class Options:
    """Which schedule, and where the result goes."""

    model: tyro.conf.Positional[Annotated[Model, tyro.conf.arg(metavar="MODEL")]] = "almgren-chriss"
    """almgren-chriss: without transient impact, signal and cap; static: the best of all in the problem as it is;
    garleanu-pedersen: with the signal as expected at arrival; lqr: by the weights q and r; twap; vwap."""
    q: float = 0.05
    """Price of inventory, for lqr."""
    r: float = 1.0
    """Price of trading, for lqr."""
    hours_per_day: Maybe[float] = None
    """Length of the trading day; 24 where trading never stops. By default that of --market, or else 6.5. [hour]"""
    out: Maybe[Path] = None
    """Folder to create; by default runs/schedule-1, or the first number that is free."""


@dataclass(frozen=True)
class Arguments:
    """All options."""

    options: Plain[Options] = field(default_factory=Options)
    problem: ProblemOptions = field(default_factory=ProblemOptions)


def trades(options: Options, market: Market, order: Order) -> np.ndarray:
    """Planned shares of each slice. Shape: (n_steps,)."""
    if options.model == "almgren-chriss":
        return Impact.of(market, order).trades(order.shares, order.n_steps)
    if options.model == "static":
        return best_schedule(market, order)
    if options.model == "garleanu-pedersen":
        agent, left, sold = GarleanuPedersen(market, order), order.shares, np.zeros(order.n_steps)
        for t in range(order.n_steps):
            alpha = market.signal * np.exp(-market.signal_reversion * order.slice_length * t)
            sold[t] = left if t == order.n_steps - 1 else float(agent.rule(Seen(t, left, 0.0, alpha, 0.0, 0.0)))
            left -= sold[t]
        return sold
    if options.model == "lqr":
        sold = order.shares * np.asarray(lqr.sells(options.q, options.r, order.n_steps, finite=True))
        sold[-1] += order.shares - sold.sum()
        return sold
    profile = market.profile(order) if options.model == "vwap" else np.ones(order.n_steps)
    return order.shares * profile / profile.sum()


def on_cap(options: Options, market: Market, order: Order, planned: np.ndarray, cost: ScheduleCost) -> list[str]:
    """What the cap does to a schedule: at expected volumes, and on average."""
    if order.max_participation is None:
        return []
    _, bound, block = at_expected_volume(market, order, planned)
    slices = (np.flatnonzero(bound) + 1).tolist()
    said = f"binds in slice{'s' * (len(slices) > 1)} {_ranges(slices)}" if slices else "does not bind"
    left = f" and leaves {block:,.6g} shares to the closing block" if block > 0 else ""
    freed = replace(order, max_participation=None)
    price = cost.objective - schedule_cost(market, freed, trades(options, market, freed)).objective
    # It may: a cap puts trades off when volume is low, which is when they are dear.
    does = "costs" if price >= 0 else "saves"
    return [
        f"where volumes are as expected, the cap of {100 * order.max_participation:g} % {said}{left}",
        f"on average the cap {does} {abs(price):.3f} bps and leaves {cost.block:,.4g} shares to the closing block, "
        f"some in {100 * cost.unfinished:.2g} % of paths",
    ]


def _ranges(slices: list[int]) -> str:
    """Numbers in rising order, those in a row as first-last.

    >>> _ranges([1, 2, 3, 7])
    '1-3, 7'
    """
    ends = [k for k in slices if k + 1 not in slices]
    starts = [k for k in slices if k - 1 not in slices]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def per_slice(problem: OneAsset, planned: np.ndarray) -> pd.DataFrame:
    """A schedule as it is executed where volumes are as expected, slice by slice."""
    market, order, times = problem.market, problem.order, problem.clock.labels(problem.order)
    sold, bound, _ = at_expected_volume(market, order, planned)
    table = pd.DataFrame(
        {
            "slice": np.arange(1, order.n_steps + 1),
            f"from [{problem.clock.unit}]": times[:-1],
            "to": times[1:],
            "trade [shares]": sold,
            "trade [$]": sold * market.arrival_price,
            "share of volume [%]": 100 * sold / slice_means(market, order).volume,
            "remaining [shares]": holdings(order, sold)[1:],
        }
    )
    if order.max_participation is not None:
        table["at cap"] = np.where(bound, "yes", "")
    return table


def holdings(order: Order, sold: np.ndarray) -> np.ndarray:
    """Shares left at the boundaries of slices. Shape: (n_steps + 1,)."""
    held = order.shares - np.r_[0.0, np.cumsum(sold)]
    held[np.abs(held) < 1e-9 * order.shares] = 0.0  # what rounding leaves
    return held


def main(argv: Sequence[str]) -> None:
    """Compute, print, plot, save."""
    argv, aversions = several(argv, "--risk-aversion")
    start = ProblemOptions.start(argv, "AlmgrenChriss-v0")
    args = parse("schedule", Arguments, argv, __doc__, Arguments(problem=start))
    options, given = args.options, args.problem.options(start, argv)
    if options.hours_per_day is not None:
        given["hours_per_day"] = options.hours_per_day
    problem = make_problem(**given)
    if problem.ranges:
        raise InputError("--randomise: a schedule is that of one market")
    if len(set(map(float, aversions))) < len(aversions):
        raise InputError(f"--risk-aversion {' '.join(aversions)}: a number is named twice")
    refuse_existing(options.out)
    say_remarks(problem)
    market, order = problem.market, problem.order
    if len(aversions) > 1:
        orders = {f"{options.model} λ = {text}": replace(order, risk_aversion=float(text)) for text in aversions}
    else:
        orders = {options.model: order}
    to_bps = bps(order.shares * market.arrival_price)
    plans = {name: trades(options, market, of) for name, of in orders.items()}
    costs = {name: schedule_cost(market, orders[name], planned) for name, planned in plans.items()}
    tables = {name: per_slice(problem, plans[name]) for name, of in orders.items()}
    flat = np.full(order.n_steps, order.shares / order.n_steps)
    shown = dict(costs)
    for name, of in orders.items():  # J of an even pace depends on the risk aversion too
        shown["twap" + name.removeprefix(options.model)] = schedule_cost(market, of, flat)
    summary = pd.DataFrame(
        {
            name: {
                "J [bps]": cost.objective,
                "± [bps]": cost.error,
                "J [$]": cost.objective / to_bps,
                "expected cost [bps]": cost.shortfall,
                "expected cost [$]": cost.shortfall / to_bps,
                "std [bps]": cost.price_std,
                "std [$]": cost.price_std / to_bps,
            }
            for name, cost in shown.items()
        }
    ).T
    print(f"{problem.describe()}")
    for name, table in tables.items():
        if len(tables) > 1:
            print(f"{name}:")
        print(as_text(table, order))
    forms: dict[Any, Any] = {str(name): money if "$" in str(name) else "{:,.3f}".format for name in summary}
    print(summary.to_string(formatters=forms))
    print("J: expected cost + charge for risk; ± is one standard error; std: that of the price on the shares held")
    for name, of in orders.items():
        for line in on_cap(options, market, of, plans[name], costs[name]):
            print(f"{name}: {line}" if len(orders) > 1 else line)
        if not math.isnan((impact := Impact.of(market, of)).kappa):
            said = f"kappa {impact.kappa:.4g} per day, half-life {problem.clock.span(impact.half_life)}"
            print(f"{name}: {said}" if len(orders) > 1 else f"{said}, without transient impact")

    folder = new_folder(options.out or free_folder(Path("runs") / "schedule"))
    several_tables = [table.assign(**{"risk aversion [1/$]": orders[n].risk_aversion}) for n, table in tables.items()]
    write_csv(pd.concat(several_tables if len(tables) > 1 else list(tables.values())), folder / "schedule.csv")
    write_csv(summary, folder / "summary.csv", index=True)
    held = {name: holdings(order, table["trade [shares]"].to_numpy()) for name, table in tables.items()}
    held = {"twap": holdings(order, flat)} | held
    clock, title = problem.clock, problem.describe().partition(" in ")[0]
    schedule_plots.holdings(held, "twap", clock.labels(order), clock.unit, title).savefig(
        folder / "schedule.png", dpi=130
    )
    files = "schedule.csv, summary.csv, schedule.png"
    if market.volatility > 0:
        files += f", {draw_frontier(problem, orders, held, folder)}"
    print(f"{files}: {folder}")


def as_text(table: pd.DataFrame, order: Order) -> str:
    """A table of slices for a terminal, with four digits of the mean trade."""
    digits = max(0, 3 - math.floor(math.log10(order.shares / order.n_steps)))
    forms: dict[Any, Any] = dict.fromkeys(("trade [shares]", "remaining [shares]"), f"{{:,.{digits}f}}".format)
    forms |= {"trade [$]": money, "share of volume [%]": "{:.3g}".format}
    return table.to_string(index=False, formatters=forms)


def draw_frontier(problem: OneAsset, orders: dict[str, Order], held: dict[str, np.ndarray], folder: Path) -> str:
    """Write the efficient frontier of Almgren and Chriss, and where the schedules are beside it; says its files."""
    market, order = problem.market, problem.order
    impact, to_bps = Impact.of(market, order), bps(order.shares * market.arrival_price)
    # With a power law each point is a program of its own, which takes longer the more slices there are.
    n_points = 50 if impact.exponent == 1 else min(50, max(8, 2000 // order.n_steps))
    points = efficient_frontier(impact, order.shares, order.n_steps, n_points).to_frame()
    cost, std = points["expected_cost"], points["variance"] ** 0.5
    columns = {"risk aversion [1/$]": points["risk_aversion"], "expected cost [bps]": cost * to_bps}
    columns |= {"expected cost [$]": cost, "std [bps]": std * to_bps, "std [$]": std}
    write_csv(pd.DataFrame(columns), folder / "frontier.csv")
    low, high = np.log10(points["risk_aversion"].iloc[[0, -1]])
    decades = [10.0**k for k in range(math.ceil(low), math.floor(high) + 1)]
    labelled = efficient_frontier(impact, order.shares, order.n_steps, risk_aversions=decades).points if decades else ()
    places = [schedule_plots.Place(v**0.5 * to_bps, c * to_bps, "") for _, c, v in points.itertuples(index=False)]
    places += [schedule_plots.Place(v**0.5 * to_bps, c * to_bps, f"λ = {a:g}") for a, c, v in labelled]
    marked = {}
    for name in ("twap", *orders):  # twap may be both
        done = np.r_[held[name][:-1], 0.0]
        where = impact.variance(done) ** 0.5 * to_bps, impact.expected_cost(done) * to_bps
        told = name if "λ" in name or name == "twap" else f"{name}, your λ = {order.risk_aversion:g}"
        marked[told] = schedule_plots.Place(*where, "")
    title = "Almgren-Chriss frontier, without transient impact"
    picture = schedule_plots.frontier(sorted(places), marked, 1 / to_bps, title)
    picture.savefig(folder / "frontier.png", dpi=130)
    return "frontier.csv, frontier.png"


if __name__ == "__main__":
    run(main)
