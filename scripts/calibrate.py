"""Calibrate a market to data: one YAML file with every parameter, its standard error and where it is from.

Files are text, perhaps compressed, Parquet or databento's DBN, of any size; vendors' formats are known
(exec-env list formats), others are told apart by their columns:
  slices    time, mid, spread, volume; if known depth, flow (bought less sold by takers)
  trades    time, price, size; if known side (buy or sell); with quotes or a book beside them, or alone, as bars
  quotes    time, bid, ask
  bars      time, open, volume; if known high, low, close, from which EDGE sees the spread
  book      time, bid_price_#, bid_size_#, ask_price_#, ask_size_# with # from 0 or 1; if known volume and flow
  LOBSTER   NAME_DATE_..._message_LEVELS.csv and its orderbook file, by their names

Several files of one kind are read one after the other. What is not understood is refused by file, row and way out, and
what is assumed is said in a line. What the data cannot tell is the prior's, and marked so.

Examples:
  exec-env calibrate trades.parquet quotes.parquet --out market.yaml --report market.html
  exec-env calibrate trades.csv quotes.csv --columns price=px "time=exchange time" --time-unit us
  exec-env calibrate book.csv --minutes 1 --hours-per-day 24 --columns
        "volume=(buys + sells) / mid" "bid_price_#=mid * (1 + bids_distance_#)" "bid_size_#=bids_notional_# / mid" ...
  exec-env calibrate AAPL_2012-06-21_34200000_57600000_message_10.csv AAPL_..._orderbook_10.csv
  exec-env calibrate BTCUSDT-trades-2025-0*.csv BTCUSDT-bookTicker-2025-0*.csv
  exec-env calibrate minutes.csv --session 09:30-16:00 --zone America/New_York
  exec-env calibrate --simulated-truth 50  do intervals hold? markets with known parameters

Then play on it, with any command:
  exec-env train dqn --market market.yaml
  exec-env evaluate twap almgren-chriss adaptive --market market.yaml --shares 50000
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from exec_env.base.errors import InputError
from exec_env.base.extras import require_packages
from exec_env.base.files import new_file, write_text
from exec_env.cli.main import run
from exec_env.cli.options import Flag, Group, Maybe, ReadingOptions, Several, named_columns, parse
from exec_env.data.slices import Stamp
from exec_env.market.market import Market
from exec_env.one_asset.presets import get_preset


@dataclass(frozen=True)
class Options:
    """What is read, how, and where the result goes."""

    data: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(metavar="[FILE ...]", help_behavior_hint="")]
    ] = ()
    """Files with the data, in order of time."""
    out: Path = Path("market.yaml")
    """File to create; one that exists is refused."""
    report: Maybe[Path] = None
    """Web page about it to create."""
    slices: Maybe[Path] = None
    """CSV file of the slices to create, all of them whatever --split is; others play it with --tape."""
    minutes: float = 5.0
    """Length of a slice; recorded slices have their own. [minute]"""
    hours_per_day: Maybe[float] = None
    """Length of a trading day, the unit of time of every rate; by default the session's, or else as the data show, 24
    where they know no night. [hour]"""
    columns: Several[str] = ()
    """Where files have other names: OURS=COLUMN, or arithmetic such as "volume=(buys + sells) / price", as
    everywhere. Of a book mid and spread are those of its best prices."""
    stamp: Stamp = "start"
    """Whether volume and flow of recorded slices, or books, are of the time from their stamp on, or before it."""
    split: Maybe[float] = None
    """Calibrate on this part of the slices alone, from the first on, so that the rest can judge: exec-env evaluate
    plays it with --tape and the same --split."""
    prior: str = "default"
    """Preset whose market gives what the data cannot tell, its impact scaled by volatility, price and volume."""
    exponent: float | Literal["fit"] = 1.0
    """δ of temporary impact ∝ rate^δ; 1: linear, which has a bound; fit: what the data say, if that is clear, else 1.
    With --simulated-truth that of the markets, which is estimated unless it is 1."""
    simulated_truth: int = 0
    """Instead of data, calibrate this many simulated markets of known parameters, and show how often intervals hold."""
    days: int = 60
    """Days of trades and quotes of each of these."""
    seed: int = 0
    """Of these."""
    quiet: Flag = False
    """No progress bar."""
    reading: Group[ReadingOptions] = field(default_factory=ReadingOptions)


def main(argv: Sequence[str]) -> None:
    """Parse, read, estimate, write, print."""
    options = parse("calibrate", Options, argv, __doc__, names=False)
    require_packages("statsmodels")
    from exec_env.calibration import of, read, truth  # takes seconds, so that --help need not wait for it

    if options.simulated_truth:
        if options.data:
            raise InputError("--simulated-truth goes without files of data")
        if options.exponent == "fit":
            raise InputError("--exponent fit: --simulated-truth takes the number that the markets have")
        sizes = options.simulated_truth, options.days, options.seed
        found = truth.study(*sizes, options.exponent, progress=not options.quiet)
        print(truth.summary(found).to_string(float_format="{:.3f}".format))
        print(
            f"{options.simulated_truth} markets of {options.days} days; bias and error over the mean size of the truth"
        )
        return
    if not options.data:
        raise InputError("name the files with the data")
    outputs = [path for path in (options.out, options.report, options.slices) if path is not None]
    for i, path in enumerate(outputs):
        if new_file(path).resolve() in [other.resolve() for other in outputs[:i]]:
            raise InputError(f"{path}: named for two results")
    columns = named_columns(options.columns, "--columns")
    prior: Market = get_preset(options.prior).market
    slices = read(
        options.data,
        options.minutes,
        options.hours_per_day,
        columns,
        options.reading.read(),
        progress=not options.quiet,
        stamp=options.stamp,
    )
    known = slices if options.split is None else slices.training(options.split)
    calibration = of(known, prior, options.exponent)
    print(calibration.table())
    calibration.file.save(options.out)
    print(f"market: {options.out}")
    if options.slices is not None:
        write_text(options.slices, slices.tape.to_csv(index=False))
        print(f"slices: {options.slices}")
    if options.report is not None:
        from exec_env.calibration.report import write_report

        write_report(calibration, options.report)
        print(f"report: {options.report}")


if __name__ == "__main__":
    run(main)
