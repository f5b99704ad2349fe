"""The best static schedule: what a trader does who decides everything at arrival and never looks again."""

from dataclasses import replace
from typing import Any

import numpy as np

from exec_env.base.validation import require_type
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.optimum import lq, regimes
from exec_env.optimum.seen import Seen


def averaged(market: Market, order: Order) -> Market:
    """The market as a trader sees it who does not look: every random factor at its mean, and impact linear.

    Its optimal schedule is the best non-adaptive one of ``market``, because all factors have mean one; nearly so where
    impact is a power law, for which ``Market.linearised`` stands in.
    """
    require_type(Market, market=market)
    require_type(Order, order=order)
    market = market.linearised(order)
    decay, _ = lq.decay_moments(market, order.slice_length)
    noises = {f"{name}_noise": 0.0 for name in ("volume", "spread", "impact", "decay", "slippage")}
    quiet: dict[str, Any] = noises | {"liquidity_volatility": 0.0, "shock_rate": 0.0, "signal_volatility": 0.0}
    if market.own_stress.shock_rate > 0:
        quiet |= {"stress": "none", "stress_factor": None, "stress_onset_end": None}
    return replace(market, resilience=-float(np.log(decay)) / order.slice_length, **quiet)


def best_schedule(market: Market, order: Order) -> np.ndarray:
    """Trades of the best static schedule. Shape: (n_steps,). [shares]

    Almgren & Chriss (2001) where there is no transient impact and no signal.
    """
    mean, remaining, transient, signal = averaged(market, order), order.shares, 0.0, market.signal
    solution = lq.solve(mean, order, observed=False)
    decay = mean.decay_at(0.0, order.slice_length)
    spreads = lq.coefficients(mean, order, np.zeros(1), regimes.chain(mean, order), None, observed=False)
    trades = []
    for t in range(order.n_steps):
        spread = float(spreads(t)[0][0])
        v = float(solution.policy(Seen(t, remaining, transient, signal, spread, 0.0)))
        trades.append(v)
        remaining, transient = remaining - v, decay * (transient + market.transient_impact * v)
        signal *= np.exp(-market.signal_reversion * order.slice_length)
    trades[-1] += remaining
    return np.array(trades)
