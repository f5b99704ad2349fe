"""Estimate before the trade what an order will cost, over several horizons and urgencies: a table, a page, CSV.

Expected cost, its standard deviation, the mean of its costliest 5 % (CVaR 95), shares of the volume, the horizon with
the least J = cost + λ variance, the efficient frontier. Nothing is simulated; what is assumed is said in a line each.

Examples:
  exec-env estimate --shares 250k --price 40 --adv 3m --volatility 1.8% --spread 3bps --side sell
  exec-env estimate --shares 4%adv --price 40 --adv 3m --volatility 1.8% --spread 3bps --start 10:00 --end 15:30
  exec-env estimate --shares 35 --price 60000 --adv 25k --volatility 3% --spread 1bps --hours-per-day 24 --horizon 4h
  exec-env estimate --shares 250k --market market.yaml --horizons 30min 1h 2h
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from exec_env.base.csv_files import write_csv
from exec_env.base.errors import InputError
from exec_env.base.files import free_folder, new_folder, write_text
from exec_env.base.units import quantity
from exec_env.cli.main import run
from exec_env.cli.options import Maybe, Name, Plain, Several, parse, refuse_existing, say_remarks
from exec_env.data.market_file import MarketFile
from exec_env.harness.pre_trade import assumptions, pre_trade
from exec_env.harness.reports.pre_trade import Page
from exec_env.market.order import Order, Side
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.problem import OneAsset

_HORIZONS = (0.5, 1.0, 2.0, 4.0, 8.0)  # [hour]
_MOST = 500  # slices of the longest horizon
_OF_THE_STOCK = {"price": "arrival_price", "adv": "daily_volume", "volatility": "volatility", "spread": "half_spread"}


@dataclass(frozen=True)
class Options:
    """The order, the stock, and where the result goes."""

    shares: str
    """Size of the order: 250k, 1.2m (million), 4%adv (of the daily volume), or a number."""
    side: Side = "sell"
    """Direction; costs are those of the mirror image."""
    price: Maybe[float] = None
    """Mid price when the order arrives [$]; this and the three that follow may be left out with --market."""
    adv: Maybe[str] = None
    """Average daily volume, as 3m. [shares/day]"""
    volatility: Maybe[str] = None
    """Of a day's (a session's) return, as 1.8%; not a year's."""
    spread: Maybe[str] = None
    """Quoted spread from bid to ask, as 3bps; half of it is paid on each share."""
    market: Maybe[Path] = None
    """A calibrated market, as exec-env calibrate writes it (YAML); what is given above replaces what it says, and its
    impact follows."""
    preset: Name = ""
    """Whose impact is scaled to the stock, where there is no --market: default, almgren-2005 ... (exec-env list)."""
    horizon: Maybe[str] = None
    """Longest time allowed, as 2h or 1d (a session, the default)."""
    start: Maybe[str] = None
    """When the order arrives, as 09:30: slices are then shown by the clock."""
    end: Maybe[str] = None
    """When it has to be done, as 15:30, instead of --horizon."""
    horizons: Several[str] = ()
    """Shorter ones to show too; by default 30min, 1h, 2h, 4h, 8h and 1d, as many as fit."""
    slice_length: str = "5min"
    """Length of a slice."""
    risk_aversion: float = Order.risk_aversion
    """Your price λ of a unit of variance; tables also show a tenth and ten times it. [1/$]"""
    max_participation: Annotated[str, tyro.conf.arg(metavar="20%|none")] = "30%"
    """Cap on the share of the volume expected in each slice; none lifts it."""
    hours_per_day: Maybe[float] = None
    """Length of the trading day; 24 where trading never stops. By default that of --market, or else 6.5. [hour]"""
    out: Maybe[Path] = None
    """Folder to create; by default runs/estimate-1, or the first number that is free."""


@dataclass(frozen=True)
class Arguments:
    """All options."""

    options: Plain[Options] = field()


def problem_of(options: Options) -> OneAsset:
    """The order over its longest horizon, in the market that is told.

    Raises:
        InputError: naming what is missing or cannot be.
    """
    given: dict[str, Any] = {theirs: getattr(options, name) for name, theirs in _OF_THE_STOCK.items()}
    missing = [f"--{name}" for name, theirs in _OF_THE_STOCK.items() if given[theirs] is None]
    if missing and options.market is None:
        raise InputError(f"{', '.join(missing)}: not given, and there is no --market that says it")
    if options.market is not None and options.preset:
        raise InputError(f"--preset {options.preset}: no effect beside --market, which has an impact of its own")
    given = {name: value for name, value in given.items() if value is not None}
    if options.spread is not None:
        given["half_spread"] = _quantity("--spread", options.spread, "bps") / 2
    given |= {"market": options.market} if options.market is not None else {}
    given |= {"preset": options.preset} if options.preset else {}
    given |= {name: getattr(options, name) for name in ("shares", "side", "risk_aversion")}
    given |= {"hours_per_day": options.hours_per_day} if options.hours_per_day is not None else {}
    given["max_participation"] = None if options.max_participation.lower() == "none" else options.max_participation
    given["slice_length"] = options.slice_length
    if options.start is not None:
        given["start"] = options.start
    if options.end is not None:
        if options.horizon is not None:
            raise InputError(f"--horizon {options.horizon}: the horizon is that from --start to --end")
        return _within(make_problem(**given, end=options.end))
    problem = make_problem(**given, n_steps=2)
    steps = _slices(problem, "--horizon", options.horizon or "1d")
    return _within(make_problem(**given, n_steps=steps))


def _within(problem: OneAsset) -> OneAsset:
    if problem.order.n_steps > _MOST:
        raise InputError(f"--slice-length: makes {problem.order.n_steps} slices; take longer ones, {_MOST} at most")
    return problem


def _quantity(option: str, text: str, kind: Any, hours: float = 24.0) -> float:
    try:
        return quantity(text, kind, hours)
    except InputError as error:
        raise InputError(f"{option} {text}: {error}") from None


def _slices(problem: OneAsset, option: str, text: str) -> int:
    """Slices of a horizon.

    Raises:
        InputError: where they are not two or more whole ones.
    """
    length = problem.order.slice_length
    steps = _quantity(option, text, "time", problem.clock.hours_per_day) / length
    if abs(steps - round(steps)) > 1e-6 or round(steps) < 2:
        raise InputError(f"{option} {text}: must be two or more whole slices of {problem.clock.span(length)}")
    return round(steps)


def shorter(problem: OneAsset, options: Options) -> list[int]:
    """Horizons below the longest. [slices]"""
    if options.horizons:
        found = [_slices(problem, "--horizons", text) for text in options.horizons]
        for text, steps in zip(options.horizons, found, strict=True):
            if steps > problem.order.n_steps:
                raise InputError(
                    f"--horizons {text}: is beyond the longest, {problem.clock.span(problem.order.horizon)}"
                )
        return found
    hours = problem.clock.hours_per_day
    days = [*(some / hours for some in _HORIZONS if some < hours), 1.0]
    lengths = [each / problem.order.slice_length for each in days]
    return [round(n) for n in lengths if abs(n - round(n)) < 1e-6 and 2 <= round(n) < problem.order.n_steps]


def source_of(problem: OneAsset, options: Options) -> str:
    """Where impact is from, in words."""
    scaled = "scaled by σ S0 / V to this price, volatility and volume"
    if problem.file is None:
        name = options.preset or "default"
        level = " (an even pace costs about 0.3 σ √(X / V))" if name == "default" else ""
        return f"that of the preset {name}{level}, {scaled}, no estimate of this stock"
    file: MarketFile = problem.file
    whence = ", ".join(
        f"{symbol} {file.parameters[name].source}"
        for symbol, name in (("η", "temporary_impact"), ("γ", "permanent_impact"), ("κ", "transient_impact"))
    )
    held = scaled if problem.on_impact else "as it is there"
    return f"that of {options.market} (from {whence}), {held}"


def main(argv: Sequence[str]) -> None:
    """Calculate, print, save."""
    options = parse("estimate", Arguments, argv, __doc__, names=False).options
    refuse_existing(options.out)
    problem = problem_of(options)
    found = pre_trade(problem.market, problem.order, shorter(problem, options))
    market, clock = problem.market, problem.clock
    half_life = clock.span(math.log(2) / market.resilience) if market.resilience > 0 else "an infinite time"
    assumed = assumptions(market, problem.order, source_of(problem, options), half_life)
    problem = replace(problem, on_impact=())  # of which the assumptions speak
    say_remarks(problem)
    page = Page(found, problem, assumed)
    print(page.text())
    folder = new_folder(options.out or free_folder(Path("runs") / "estimate"))
    hours = clock.hours_per_day
    write_csv(found.to_frame(found.grid, hours), folder / "estimate.csv")
    write_csv(found.to_frame(found.frontier, hours), folder / "frontier.csv")
    write_text(folder / "estimate.html", page.render())
    print(f"\nestimate.html, estimate.csv, frontier.csv: {folder}")


if __name__ == "__main__":
    run(main)
