"""The best fixed schedule: what a trader does who decides everything at arrival and never looks again.

A schedule is a list of planned trades. It is executed as fractions of what is left: what the cap holds back in a slice
is spread over the slices that follow, in the proportions of their trades. Where the cap never binds, these are the
planned trades themselves. (To catch up as soon as the cap allows costs more: the cap binds when liquidity is poor, and
poor liquidity lasts.)

Without a cap the best schedule is that of a convex program on the means of the slices, exactly. With one it is the
least mean cost over simulated paths, see ``exec_env.optimum.capped``.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from exec_env.base.validation import require_type
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.optimum import capped, convex
from exec_env.optimum.liquidity_grid import plain
from exec_env.optimum.means import SliceMeans, slice_means


@dataclass(frozen=True)
class FixedCost:
    """Expected cost of shares v that are fixed at arrival, as a function of them. [$]

    Σ h_t v_t + s_t v_t^(1+δ) + γ_t v_t x_t − d_t x_t + r_t x_t² + f v_t
        + κ Σ_{u<t} (decay_u ··· decay_{t−1}) v_u v_t

    with x_t the shares held after slice t. Shape of arrays: (n_steps,).
    """

    half_spread: np.ndarray
    """h. [$]"""
    slope: np.ndarray
    """s: the concession is s v^δ. [$/share per share^δ]"""
    exponent: float
    """δ."""
    permanent: np.ndarray
    """γ. [$/share per share]"""
    drift: np.ndarray
    """d. [$]"""
    risk: np.ndarray
    """r: λ times the variance of the slice's price. [$/share²]"""
    transient: float = 0.0
    """κ. [$/share per share]"""
    decay: Any = 0.0
    """Share of the transient push that each slice leaves; a number where all leave the same."""
    fee: float = 0.0
    """Of each share. [$]"""

    @classmethod
    def of(cls, market: Market, order: Order, means: SliceMeans) -> "FixedCost":
        """That of an order in a market with these means."""
        return cls(
            half_spread=means.half_spread,
            slope=means.slope,
            exponent=plain(market.impact_exponent),
            permanent=means.permanent,
            drift=means.drift,
            risk=plain(order.risk_aversion) * means.variance,
            transient=plain(market.transient_impact),
            decay=means.decay,
            fee=plain(market.fee),
        )

    def program(self, shares: float) -> convex.Program:
        """The cost of an order of so many shares, in the part of them that each slice trades, but for a constant."""
        n = len(self.slope)
        sold = np.tri(n)  # what has been traded by the end of each slice
        sold[-1] = 0.0  # nothing is held after the last
        pushes = self.transient * (surviving(self.decay, n) - np.eye(n))
        risk = np.r_[self.risk[:-1], 0.0]
        borne = np.cumsum(risk[::-1])[::-1]  # after a trade; of two trades, after the later one
        permanent = self.permanent[:, None] * sold
        permanent[-1] = self.permanent[-1]  # its push is on none: γ v (X − all)
        quadratic = pushes - permanent - permanent.T + 2 * borne[np.maximum.outer(np.arange(n), np.arange(n))]
        linear = self.half_spread + shares * self.permanent + sold.T @ self.drift - 2 * shares * borne
        return convex.Program(
            linear=shares * linear,
            quadratic=shares**2 * quadratic,
            coefficients=shares ** (1 + self.exponent) * self.slope,
            arguments=np.eye(n),
            power=1 + self.exponent,
            upper=np.full(n, np.inf),
        )

    def constant(self, shares: float) -> float:
        """What ``program`` leaves out: drift and risk of all shares held, and fees, which no schedule changes. [$]"""
        return float((shares**2 * self.risk - shares * self.drift)[:-1].sum()) + shares * self.fee

    def charge(self, trades: np.ndarray) -> float:
        """The part of ``cost`` that is charged for risk. [$]"""
        held = trades.sum() - np.cumsum(trades)
        return float(self.risk[:-1] @ held[:-1] ** 2)

    def minimum(self, shares: float) -> np.ndarray:
        """The trades that cost least, none of them negative. Shape: (n_steps,). [shares]

        Raises:
            NotConvex: where there are none.
        """
        program = self.program(shares)
        convex.check(program)
        return shares * convex.minimise(program)

    def cost(self, trades: np.ndarray) -> float:
        """Expected cost of a list of trades that finishes. [$]"""
        shares = float(trades.sum())
        return self.program(shares).value(trades / shares) + self.constant(shares)


def surviving(decay: Any, n: int) -> np.ndarray:
    """Share of a push in one slice that is left in another: the product of what those from one on to the other leave.

    Shape:
        (n, n), symmetric, ones on the diagonal.

    >>> surviving(np.array([0.5, 0.1, 0.5]), 3)[0].tolist()
    [1.0, 0.5, 0.05]
    """
    decay = np.broadcast_to(decay, n)
    plain, apart = decay[-1], np.abs(np.arange(n)[:, None] - np.arange(n))  # no night is after the last slice
    nights = np.divide(decay, plain, out=np.ones(n), where=plain > 0)
    later = np.cumprod(np.where(np.tri(n, k=-1) > 0, np.r_[1.0, nights[:-1]][:, None], 1.0), 0)
    return plain**apart * later * later.T


def with_block(program: convex.Program, caps: np.ndarray, penalty: float, push: float) -> convex.Program:
    """The same with caps, and one more share: that of the block b, sold on top of the last trade v.

    The block costs (penalty − 1) s b^(1+δ) more than a part of the last trade, and v push; v may be taken for its cap,
    because there is a block only where the last trade is at its cap.

    Args:
        program: of the trades of an order, the block counted with the last.
        caps: most of each trade, as a part of the order. Shape: (n_steps,).
        penalty: ``Order.terminal_penalty``.
        push: γ + κ of the last slice, on the scale of the program.
    """
    n = len(caps)
    both = np.vstack([np.eye(n), np.eye(n)[-1]])  # the block is part of the last trade
    return convex.Program(
        linear=np.r_[program.linear, program.linear[-1] + push * caps[-1]],
        quadratic=both @ program.quadratic @ both.T,
        coefficients=np.r_[program.coefficients, (penalty - 1) * program.coefficients[-1]],
        arguments=np.vstack([both.T, np.eye(n + 1)[-1]]),
        power=program.power,
        upper=np.r_[caps, np.inf],
    )


@lru_cache(maxsize=64)
def best_schedule(market: Market, order: Order) -> np.ndarray:
    """Planned trades of the best fixed schedule, never negative; read-only. Shape: (n_steps,). [shares]

    Best is the least J of all schedules as they are executed (see the module), in the problem as it is: with shocks,
    regimes, stress, power-law impact, signal, cap and closing block; but of any number of shares: who executes it makes
    lots of them. Almgren & Chriss (2001) in their market, Almgren (2003) with a power law, Obizhaeva & Wang (2013) with
    impact that decays.

    Raises:
        NotConvex: where there is none.

    >>> best_schedule(Market(), Order(n_steps=4, slice_length=10 / 78, max_participation=None)).round(-3).tolist()
    [100000.0, 49000.0, 28000.0, 22000.0]
    """
    require_type(Market, market=market)
    require_type(Order, order=order)
    charged = isinstance(market.taker_fee, float) and market.taker_fee != 0.0
    if charged or order.lots is not None:
        # Fees cost all schedules the same; beside them a search would end sooner. Lots are for who executes it.
        return best_schedule(replace(market, taker_fee=0.0) if charged else market, replace(order, lot_size=0.0))
    means, shares = slice_means(market, order), plain(order.shares)
    costs = FixedCost.of(market, order, means)
    trades = costs.minimum(shares)
    if order.max_participation is not None:
        caps = plain(order.max_participation) * means.volume / shares
        push = shares**2 * float(means.permanent[-1] + costs.transient)
        parts = convex.minimise(with_block(costs.program(shares), caps, plain(order.terminal_penalty), push))
        start = shares * np.r_[parts[:-2], parts[-2:].sum()]
        trades = capped.improve(market, order, trades, start)
    trades.flags.writeable = False
    return trades
