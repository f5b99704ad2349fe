"""Print and plot a schedule and its place on the efficient frontier; CSV beside them.

Examples:
  exec-env schedule almgren-chriss
  exec-env schedule almgren-chriss --preset almgren-chriss-2001
  exec-env schedule static --risk-aversion 1e-5 --shares 400000
  exec-env schedule lqr --q 0.05 --r 1
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import tyro

from exec_env.base.errors import InputError
from exec_env.base.files import free_folder, new_folder
from exec_env.baselines import lqr
from exec_env.baselines.almgren_chriss import Impact, ac_efficient_frontier
from exec_env.baselines.garleanu_pedersen import GarleanuPedersen
from exec_env.baselines.results import new_axes, save
from exec_env.cli.main import run
from exec_env.cli.options import Maybe, Plain, ProblemOptions, parse, refuse_existing
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.options import make_problem
from exec_env.optimum.schedule import best_schedule
from exec_env.optimum.seen import Seen

Model = Literal["almgren-chriss", "static", "garleanu-pedersen", "lqr", "twap", "vwap"]


@dataclass(frozen=True)
class Options:
    """Which schedule, and where the result goes."""

    model: tyro.conf.Positional[Annotated[Model, tyro.conf.arg(metavar="MODEL")]] = "almgren-chriss"
    """almgren-chriss: closed form; static: with transient impact and signal too; garleanu-pedersen: with the signal as
    expected at arrival; lqr: by the weights q and r; twap; vwap."""
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
    """Shares of each slice. Shape: (n_steps,)."""
    if options.model == "almgren-chriss":
        return -np.diff(Impact.of(market, order).closed_form(order.shares, order.n_steps))
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
    profile = market.profile(order.n_steps) if options.model == "vwap" else np.ones(order.n_steps)
    return order.shares * profile / profile.sum()


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
    sold = trades(args.options, market, order)
    held = np.r_[order.shares, order.shares - np.cumsum(sold)]
    held[-1] = 0.0
    per_slice = pd.DataFrame({"slice": np.arange(1, order.n_steps + 1), "trade": sold, "remaining": held[1:]})
    to_bps = bps(order.shares * market.arrival_price)

    def place(holdings: np.ndarray) -> dict[str, Any]:
        cost, variance = impact.expected_cost(holdings), impact.variance(holdings)
        return {"expected cost [bps]": cost * to_bps, "std [bps]": variance**0.5 * to_bps, "expected cost [$]": cost}

    even = np.linspace(order.shares, 0, order.n_steps + 1)
    summary = pd.DataFrame({args.options.model: place(held), "twap": place(even)}).T
    digits = max(1, 3 - math.floor(math.log10(order.shares / order.n_steps)))  # four of the mean trade
    print(per_slice.to_string(index=False, float_format=f"{{:,.{digits}f}}".format))
    print(summary.to_string(float_format="{:,.3f}".format))
    print(f"kappa {impact.kappa:.4g} per day, half-life {impact.half_life:.4g} days; costs without transient impact")
    if market.impact_exponent != 1:
        print(f"impact is linearised at the even rate: {impact.temporary_impact:.4g} $/share per share/day")

    folder = new_folder(args.options.out or free_folder(Path("runs") / "schedule"))
    per_slice.to_csv(folder / "schedule.csv", index=False)
    summary.to_csv(folder / "summary.csv")
    axes = new_axes()
    axes.step(range(order.n_steps + 1), held, where="post", label=args.options.model)
    axes.plot(range(order.n_steps + 1), even, color="0.6", ls="--", label="twap")
    axes.set(xlabel="slice", ylabel="shares left", title=f"{order.side} {order.shares:,.6g} shares")
    axes.legend(frameon=False)
    save(axes, folder / "schedule.png")
    files = "schedule.csv, summary.csv, schedule.png"
    if market.volatility > 0:
        frontier = ac_efficient_frontier(
            order.shares,
            order.n_steps,
            impact.volatility,
            impact.temporary_impact,
            impact.permanent_impact,
            slice_length=impact.slice_length,
            half_spread=impact.half_spread,
        ).to_frame()
        frontier.to_csv(folder / "frontier.csv", index=False)
        axes = new_axes()
        axes.plot(frontier["variance"] ** 0.5 * to_bps, frontier["expected_cost"] * to_bps, label="efficient frontier")
        for (name, row), colour in zip(
            summary.iterrows(), ("tab:orange", "0.45"), strict=False
        ):  # of twap there is one
            axes.plot(row["std [bps]"], row["expected cost [bps]"], "o", color=colour, label=str(name))
        axes.set(xlabel="standard deviation [bps]", ylabel="expected cost [bps]", title="Almgren-Chriss frontier")
        axes.legend(frameon=False)
        save(axes, folder / "frontier.png")
        files += ", frontier.csv, frontier.png"
    print(f"{files}: {folder}")


if __name__ == "__main__":
    run(main)
