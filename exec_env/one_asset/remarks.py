"""What a reader of a cost should know of it: impact that was scaled, fills below zero, orders that do not finish."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from exec_env.market.clock import known_nights
from exec_env.market.execution import opening, price_per_share, terms, trade
from exec_env.market.market import NOISES, Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths
from exec_env.one_asset.presets import IMPACTS
from exec_env.one_asset.randomise import Ranges
from exec_env.one_asset.scenarios import CALM

WORTH_SAYING = 0.01
"""Part of J from which on what a closing block costs is said."""
_ALL = 1e4  # what a sale can lose at most [bps]
_MOVES = f"a sale cannot lose more than {_ALL:,.0f} bps: prices move by dollars here, which holds for small moves alone"
_STILL: dict[str, Any] = CALM | {
    **dict.fromkeys(("volatility", "liquidity_volatility", "shock_rate", "signal", "signal_volatility"), 0.0),
    **dict.fromkeys(NOISES, 0.0),
}


def impact_followed(before: Market, after: Market, given: Collection[str]) -> list[str]:
    """A note on impact that followed price, volatility or volume, or does not because a volatility is 0.

    Args:
        before: the market that options were over.
        after: the market they made.
        given: names of the options.
    """
    fields = {name: getattr(after, name) for name in IMPACTS if name not in given and getattr(after, name) > 0}
    silent = bool(fields) and (before.volatility > 0) != (after.volatility > 0)
    followed = {name: value for name, value in fields.items() if value != getattr(before, name)}
    if not followed:
        return ["a volatility of 0 says nothing of impact, which stays as it is"] if silent else []
    values = ", ".join(f"{name} = {value:.3g}" for name, value in followed.items())
    rule = "S0 / V, because a volatility of 0 says nothing of it" if silent else "σ S0 / V"
    return [f"impact that is not given follows {rule}: {values}; an option of that name holds it"]


def within_a_session(market: Market, order: Order, given: Collection[str]) -> list[str]:
    """A note where options are of nights, but the order has none; a calibrated market may well know of nights."""
    named = [name for name in ("overnight_variance", "night_length") if name in given and getattr(market, name) > 0]
    if not named or known_nights(order).any():
        return []
    return [f"{' and '.join(named)}: no effect, because the order stays within a session"]


def drawn_alone(ranges: Ranges | None) -> list[str]:
    """A note where volatility or volume are drawn for each path, which impact does not follow."""
    drawn = [name for name, *_ in ranges.fields if name in ("volatility", "daily_volume")] if ranges else []
    return [f"impact does not follow the {' and '.join(drawn)} that each path draws"] if drawn else []


def whole_lots(order: Order) -> list[str]:
    """A note that what is known exactly is known of shares that can be divided."""
    if order.lots is None:
        return []
    return ["lower bound and best achievable value are those of any number of shares: whole lots do no better"]


def lowest_fill(market: Market, order: Order, trades: np.ndarray | None = None) -> float:
    """The lowest average price of a slice's shares where every factor of the market is at its mean. [$]

    Args:
        market: its stress, shocks and regimes are left out.
        order: caps the trades; what it leaves after the last slice is sold at once, as always.
        trades: asked for in each slice; by default an even pace. Shape: (n_steps,). [shares]
    """
    paths = Paths.shaped(replace(market, **_STILL), order, Normals(*np.zeros((6, 1, order.n_steps))))
    state, fixed, prices = opening(order.shares, np.zeros(1)), terms(market, order), []
    for t in range(order.n_steps):
        left = order.n_steps - t
        asked = state.remaining / left if trades is None else trades[t]
        state, fill = trade(state, paths.at(t), asked, fixed, left == 1)
        price = price_per_share(fill.shares, fill.touch, fill.shortfall, fill.fees)
        prices.append(market.arrival_price + order.sign * price)
    return float(np.min(prices))


def below_zero(market: Market, order: Order, trades: np.ndarray | None = None) -> list[str]:
    """A remark where an even pace, or the ``trades`` asked for, is filled below zero; see ``lowest_fill``."""
    lowest = lowest_fill(market, order, trades)
    if lowest >= 0:
        return []
    prices = f"from {market.arrival_price:,.6g} to {lowest:,.6g} $"
    return [f"fills below zero: impact takes the price {prices}; {_MOVES}"]


def below_zero_on(per_path: pd.DataFrame, order: Order) -> list[str]:
    """In how many paths of a table of episodes of a sale the average price is below zero."""
    share = _by_agent((order.side == "sell") & (per_path["shortfall"] - per_path["fees"] > _ALL), per_path)
    said = ", ".join(f"{agent} in {_percent(part)} of paths" for agent, part in share.items() if part > 0)
    return [f"average prices below zero: {said}; {_MOVES}"] if said else []


def unfinished(agents: Mapping[str, tuple[float, float, float]]) -> list[str]:
    """A remark where the cap does not let the order finish, so that the closing block counts.

    Args:
        agents: by name the part of paths in which the cap leaves shares, what their closing block costs on average over
            all paths, and J, of which it is a part [bps].
    """
    said = [
        f"{agent} in {_percent(part)} of paths, its closing block being {_bps(block)} of {_bps(objective)} bps of J"
        for agent, (part, block, objective) in agents.items()
        if block > WORTH_SAYING * abs(objective)
    ]
    return [f"the cap does not let the order finish: {'; '.join(said)}"] if said else []


def unfinished_on(per_path: pd.DataFrame, notional: Any) -> list[str]:
    """The same of a table of episodes.

    Args:
        per_path: from ``evaluate``, with a column ``block_cost``.
        notional: arrival notional of each row. [$]
    """
    cost = 1e4 * per_path["block_cost"] / notional
    parts = [_by_agent(column, per_path) for column in (cost > 0, cost, per_path["objective"])]
    return unfinished({agent: tuple(part[agent] for part in parts) for agent in parts[0].index})


def _by_agent(column: Any, per_path: pd.DataFrame) -> Any:
    """Mean over the paths of each agent."""
    return column.groupby(per_path["agent"], observed=True, sort=False).mean()


def _bps(cost: float) -> str:
    """Basis points with three digits, or all before the point."""
    return f"{cost:,.0f}" if abs(cost) >= 100 else f"{cost:.3g}"


def _percent(part: float) -> str:
    """A part in per cent with two digits.

    >>> _percent(0.9966), _percent(0.04), _percent(0.0003)
    ('99.7 %', '4 %', '0.03 %')
    """
    return f"{100 * part:.3g} %" if part > 0.1 else f"{100 * part:.2g} %"
