"""Print and plot a schedule and its place on the efficient frontier; CSV beside them.

The schedule is the one that is executed where volumes are as expected: what the cap holds back in a slice is spread
over those that follow. Costs are those of the whole problem, as `exec-env evaluate` finds them. The frontier is that of
the model of Almgren and Chriss, without transient impact and cap.

Examples:
  exec-env schedule almgren-chriss
  exec-env schedule almgren-chriss --preset almgren-chriss-2001 --risk-aversion -2e-7
  exec-env schedule static --risk-aversion 1e-5 --shares 400000
  exec-env schedule lqr --q 0.05 --r 1
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import tyro

from exec_env.base.csv_files import write_csv
from exec_env.base.errors import InputError
from exec_env.base.files import free_folder, new_folder
from exec_env.baselines import lqr
from exec_env.baselines.almgren_chriss import efficient_frontier
from exec_env.baselines.garleanu_pedersen import GarleanuPedersen
from exec_env.baselines.impact import Impact
from exec_env.baselines.results import new_axes, save
from exec_env.cli.main import run
from exec_env.cli.options import Maybe, Plain, ProblemOptions, parse, refuse_existing, say_remarks
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.options import make_problem
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


def main(argv: Sequence[str]) -> None:
    """Compute, print, plot, save."""
    start = ProblemOptions.start(argv, "AlmgrenChriss-v0")
    args = parse("schedule", Arguments, argv, __doc__, Arguments(problem=start))
    problem = make_problem(**args.problem.options(start, argv))
    if problem.ranges:
        raise InputError("--randomise: a schedule is that of one market")
    market, order = problem.market, problem.order
    impact = Impact.of(market, order)
    refuse_existing(args.options.out)
    say_remarks(problem)
    planned, flat = trades(args.options, market, order), np.full(order.n_steps, order.shares / order.n_steps)
    sold, bound, _ = at_expected_volume(market, order, planned)
    held = order.shares - np.r_[0.0, np.cumsum(sold)]
    held[np.abs(held) < 1e-9 * order.shares] = 0.0  # what rounding leaves
    per_slice = pd.DataFrame({"slice": np.arange(1, order.n_steps + 1), "trade": sold, "remaining": held[1:]})
    if order.max_participation is not None:
        per_slice["at cap"] = np.where(bound, "yes", "")
    to_bps = bps(order.shares * market.arrival_price)
    costs = {name: schedule_cost(market, order, each) for name, each in ((args.options.model, planned), ("twap", flat))}
    summary = pd.DataFrame(
        {
            name: {
                "J [bps]": cost.objective,
                "± [bps]": cost.error,
                "expected cost [bps]": cost.shortfall,
                "std [bps]": cost.price_std,
                "expected cost [$]": cost.shortfall / to_bps,
            }
            for name, cost in costs.items()
        }
    ).T
    digits = max(1, 3 - math.floor(math.log10(order.shares / order.n_steps)))  # four of the mean trade
    print(per_slice.to_string(index=False, float_format=f"{{:,.{digits}f}}".format))
    print(summary.to_string(float_format="{:,.3f}".format))
    print("J: expected cost + charge for risk; ± is one standard error; std: that of the price on the shares held")
    cost = costs[args.options.model]
    for line in on_cap(args.options, market, order, planned, cost):
        print(line)
    if not math.isnan(impact.kappa):
        print(f"kappa {impact.kappa:.4g} per day, half-life {impact.half_life:.4g} days, without transient impact")

    folder = new_folder(args.options.out or free_folder(Path("runs") / "schedule"))
    write_csv(per_slice, folder / "schedule.csv")
    write_csv(summary, folder / "summary.csv", index=True)
    even = np.linspace(order.shares, 0, order.n_steps + 1)
    axes = new_axes()
    axes.step(range(order.n_steps + 1), held, where="post", label=args.options.model)
    axes.plot(range(order.n_steps + 1), even, color="0.6", ls="--", label="twap")
    axes.set(xlabel="slice", ylabel="shares left", title=f"{order.side} {order.shares:,.6g} shares")
    axes.legend(frameon=False)
    save(axes, folder / "schedule.png")
    files = "schedule.csv, summary.csv, schedule.png"
    if market.volatility > 0:
        # With a power law each point is a program of its own, which takes longer the more slices there are.
        n_points = 50 if impact.exponent == 1 else min(50, max(8, 2000 // order.n_steps))
        frontier = efficient_frontier(impact, order.shares, order.n_steps, n_points).to_frame()
        write_csv(frontier, folder / "frontier.csv")
        axes = new_axes()
        axes.plot(frontier["variance"] ** 0.5 * to_bps, frontier["expected_cost"] * to_bps, label="efficient frontier")
        marked = {"twap": (even, "0.45"), args.options.model: (np.r_[held[:-1], 0.0], "tab:orange")}  # twap may be both
        for name, (holdings, colour) in marked.items():
            place = impact.variance(holdings) ** 0.5 * to_bps, impact.expected_cost(holdings) * to_bps
            axes.plot(*place, "o", color=colour, label=name)
        axes.set(
            xlabel="standard deviation [bps]",
            ylabel="expected cost [bps]",
            title="Almgren-Chriss frontier, without transient impact",
        )
        axes.legend(frameon=False)
        save(axes, folder / "frontier.png")
        files += ", frontier.csv, frontier.png"
    print(f"{files}: {folder}")


if __name__ == "__main__":
    run(main)
