"""Regimes as a Markov chain: what can be known, slice by slice, of a stress and of a poor regime that come and go."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from exec_env.base.namespace import as_like
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.stress import Factors
from exec_env.optimum import liquidity_grid

_SHARP = 1e-3  # difference in log volatility that tells regimes apart: far above the rounding of observations


class Chain(NamedTuple):
    """A Markov chain of regimes, each with its multipliers of a slice.

    A fixed onset is one regime that changes with time. A random onset is two: calm, and stressed for good; the rate of
    moving is that of the onset's law, given that it has not come yet. A poor regime that comes and goes doubles them.
    """

    factors: Factors
    """Shape of each: (n_steps, n_regimes)."""
    law: np.ndarray
    """Probability of each regime in each slice. Shape: (n_steps, n_regimes)."""
    moves: np.ndarray
    """Probability of moving from the regime (axis 1) of the slice before to that of each slice (axis 2).
    Shape: (n_steps, n_regimes, n_regimes); the first is not used."""
    shocks: np.ndarray
    """Whether liquidity shocks come in each slice. Shape: (n_steps, n_regimes), booleans."""

    @property
    def n_regimes(self) -> int:
        """Number of regimes."""
        return self.law.shape[1]

    def likely(self, market: Market, step: int, log_liquidity: Any, relative_volatility: Any) -> np.ndarray:
        """Probability of each regime, given only what is seen of slice ``step``. Shape: (n_regimes, n).

        Liquidity is normal given the regime (shocks left out), and volatility is known given regime and liquidity.

        Args:
            market: the market.
            step: slice, from 0.
            log_liquidity: ℓ, multipliers included. Shape: (n,).
            relative_volatility: of the slice, over σ. Shape: (n,).
        """
        s, c = market.liquidity_volatility, market.volatility_elasticity
        own = log_liquidity - np.log(self.factors.liquidity[step])[:, None]
        z = own / max(s, _SHARP)
        known = np.log(np.maximum(relative_volatility, 1e-300)) - c * own + c**2 * s**2
        apart = (known - np.log(self.factors.volatility[step])[:, None]) / _SHARP
        if not market.volatility > 0:
            apart = 0.0 * z
        with np.errstate(divide="ignore"):
            weight = np.log(self.law[step])[:, None] - z**2 / 2 - apart**2 / 2
        weight = np.exp(weight - weight.max(0))
        return weight / weight.sum(0)


def chain(market: Market, order: Order) -> Chain:
    """The regimes of a market over an order's horizon."""
    n, begun = order.n_steps, market.stress_begun(order.n_steps)
    if market.random_onset:
        on = np.broadcast_to([0.0, 1.0], (n, 2))
        before = np.r_[0.0, begun[:-1]]
        # Where the stress has begun for sure, no probability is left that could move.
        hazard = np.divide(begun - before, 1 - before, out=np.ones(n), where=before < 1)
        law = np.stack([1 - begun, begun], -1)
        moves = np.stack([np.stack([1 - hazard, hazard], -1), np.broadcast_to([0.0, 1.0], (n, 2))], 1)
    else:
        on, law, moves = begun[:, None], np.ones((n, 1)), np.ones((n, 1, 1))
    poor, switch, there = np.zeros(1), np.ones((1, 1)), np.ones(1)
    if market.regime_rate > 0:
        first, into, back = market.regime_probabilities(order.slice_length)
        poor, there = np.array([0.0, 1.0]), np.array([1 - first, first])
        switch = np.array([[1 - into, into], [back, 1 - back]])
    stress, shape = market.own_stress.factors(on[:, :, None]), (n, on.shape[1] * len(poor))
    ones = np.ones((n, on.shape[1], len(poor)))
    factors = Factors(
        (ones * stress.liquidity * market.regime_liquidity**poor).reshape(shape),
        (ones * stress.volatility * market.regime_volatility**poor).reshape(shape),
        (ones * stress.impact).reshape(shape),
    )
    # The night after a slice is more of the slice's own variance.
    if isinstance(span := market.spans(order)[0], np.ndarray):
        held = (span / float(order.slice_length)) ** 0.5
        factors = factors._replace(volatility=factors.volatility * held[:, None])
    shocks = market.has_shocks & (ones * on[:, :, None] > 0 if market.own_stress.shock_rate > 0 else ones > 0)
    return Chain(
        factors,
        (law[:, :, None] * there).reshape(shape),
        np.einsum("tij,kl->tikjl", moves, switch).reshape(*shape, shape[1]),
        shocks.reshape(shape),
    )


def averaged(chain: Chain) -> Chain:
    """One regime, for a rule that does not tell regimes apart; its log liquidity is that before any multiplier."""
    one = np.ones((len(chain.law), 1))
    return Chain(Factors(one, one, one), one, one[:, :, None], np.asarray(chain.shocks.all(1))[:, None])


def onward(
    market: Market,
    order: Order,
    u: np.ndarray,
    unit: Any,
    n_nodes: int,
    chain: Chain,
    like: Any = None,
    observed: bool = True,
) -> Callable[[int], Any]:
    """Matrix of the expectation over liquidity and regime of a slice, given those of the slice before.

    Shape:
        (n_regimes · n_grid, the same), the regimes one after the other; (n_grid, n_grid) unless they are observed.
    """
    calm = liquidity_grid.transition(market, order, u, n_nodes, liquidity_grid.plain(unit) or 1.0, shocks=False)
    shocked = (
        liquidity_grid.transition(market, order, u, n_nodes, liquidity_grid.plain(unit)) if chain.shocks.any() else calm
    )
    known: dict[bytes, Any] = {}

    def into(step: int) -> Any:
        shocks, moves = chain.shocks[step], chain.moves[step]
        if not observed:
            return as_like(shocked if shocks.all() else calm, like)
        key = shocks.tobytes() + moves.tobytes()
        if key not in known:
            blocks = [[p * (shocked if s else calm) for p, s in zip(row, shocks, strict=True)] for row in moves]
            known[key] = as_like(np.block(blocks), like)
        return known[key]

    return into
