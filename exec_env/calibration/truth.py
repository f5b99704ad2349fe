"""A test of calibration: markets are drawn at random, to see how often intervals hold the truth."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from exec_env.base.validation import require_count
from exec_env.calibration import simulate
from exec_env.calibration.fit import of
from exec_env.data.market_file import NIGHTS
from exec_env.data.tick_sums import Slicer
from exec_env.data.ticks import Slices
from exec_env.market.market import Market

RANGES: dict[str, tuple[float, float]] = {
    "volatility": (0.01, 0.04),
    "volatility_elasticity": (-0.5, 0.5),
    "liquidity_reversion": (4.0, 16.0),
    "liquidity_volatility": (0.1, 0.8),
    "daily_volume": (1e6, 2e7),
    "volume_noise": (0.2, 0.5),
    "half_spread": (1.0, 10.0),
    "spread_elasticity": (0.2, 0.8),
    "spread_noise": (0.2, 0.4),
    "resilience": (10.0, 30.0),
    "temporary_impact": (2.0, 10.0),
    "permanent_impact": (10.0, 60.0),
    "transient_impact": (0.0, 15.0),
}
"""What truths are drawn from; impacts are multiples of the prior, because the flow of all takers moves the price by
more than an order's: here it explains some 20 to 80 % of the variance of returns, as in markets."""
ZERO = {"transient_impact": 0.3, "liquidity_volatility": 0.2, "volatility_elasticity": 0.2}
"""Probability that a truth is zero, of those that may be."""
_IMPACTS = ("temporary_impact", "permanent_impact", "transient_impact")


def markets(n: int, seed: int) -> Iterator[Market]:
    """Markets drawn from ``RANGES`` and ``ZERO``."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        drawn = {name: float(rng.uniform(*within)) for name, within in RANGES.items()}
        drawn |= {name: 0.0 for name, part in ZERO.items() if rng.uniform() < part}
        base = Market().rescaled(100.0, drawn["volatility"], drawn["daily_volume"])
        yield replace(base, **drawn | {name: drawn[name] * getattr(base, name) for name in _IMPACTS})


def slices_of(market: Market, days: int, seed: int, **options: Any) -> Slices:
    """Slices of five minutes of the trades and quotes that ``simulate.sessions`` makes."""
    slicer = Slicer(300 * 10**9)
    for quotes, trades in simulate.sessions(market, days, seed, **options):
        slicer.add(quotes, trades)
    return Slices(slicer.finished(), 1 / 78, 6.5, [{"file": "simulated", "holds": "trades and quotes"}])


def study(n: int = 50, days: int = 60, seed: int = 0, exponent: float = 1.0, progress: bool = False) -> pd.DataFrame:
    """Calibrate ``n`` markets.

    Args:
        n: how many.
        days: of trades and quotes of each.
        seed: of everything.
        exponent: δ of all; where it is not 1, it is estimated too.
        progress: whether to show a bar.

    Returns:
        One row per market and parameter: truth, estimate, error, low, high, covered; of what the data say, before any
        weak estimate gives way to the prior.
    """
    require_count(n=n, days=days)
    rows = []
    for i, market in enumerate(tqdm(markets(n, seed), total=n, unit=" markets", disable=not progress)):
        market = replace(market, impact_exponent=exponent)
        slices = slices_of(market, days, seed=seed + 1000 * (i + 1))
        found = of(slices, exponent=1.0 if exponent == 1 else "fit")
        for name, evidence in found.found.items():
            if name in NIGHTS:  # every simulated day begins at the arrival price anew
                continue
            truth = getattr(market, name)
            if name == "volatility":
                truth = simulate.total_volatility(market, 1 / 78)
            low, high = evidence.interval(name)
            rows.append((i, name, truth, *evidence.estimate, low, high, low <= truth <= high))
    return pd.DataFrame(rows, columns=["market", "parameter", "truth", "estimate", "error", "low", "high", "covered"])


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Coverage, bias and typical standard error, the latter two over the mean size of the truth, and number of markets.

    One row per parameter, and one more of those markets whose truth is zero, where there are any.
    """
    size = found["truth"].abs().groupby(found["parameter"]).mean()
    rows = {}
    for name, every in found.groupby("parameter"):
        zero = every["truth"] == 0
        parts = {name: every[~zero], f"{name} = 0": every[zero]}
        for label, part in parts.items():
            if len(part):
                miss = (part["estimate"] - part["truth"]) / (size[name] or 1.0)
                error = part["error"].mean() / (size[name] or 1.0)
                bias_error = miss.std() / np.sqrt(len(part))
                rows[label] = (part["covered"].mean(), miss.mean(), bias_error, error, len(part))
    names = ["coverage", "bias", "bias_error", "typical_error", "markets"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names)
