"""What an agent does in a given state: its pace as liquidity and time vary, everything else as on an average day."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from exec_env.envs.rollout import executor, rollout
from exec_env.harness.agents import Agent
from exec_env.market.execution import State
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths
from exec_env.one_asset.actions import get_action_mode
from exec_env.optimum import lq

_WIDTH = 2.0  # levels of liquidity reach this many standard deviations, where 95 % of the time is spent
_STILL = 1e-12  # [1/day] speed at which log liquidity returns to its mean when it is to stay where it is


def pace(shares: Any, remaining: Any, slices_left: Any) -> np.ndarray:
    """Shares traded as a multiple of selling evenly what is left, so that TWAP is 1; NaN where nothing is left.

    >>> pace(np.array([10.0, 30.0, 0.0]), np.array([100.0, 100.0, 0.0]), 10).tolist()
    [1.0, 3.0, nan]
    """
    even = np.asarray(remaining / slices_left + 0.0 * shares)
    return np.divide(shares, even, out=np.full(even.shape, np.nan), where=even > 0)


@dataclass(frozen=True)
class States:
    """States in which agents are asked: every level of liquidity in every slice."""

    market: Market
    order: Order
    tape: Paths
    """One path for each level, on which liquidity stays and all that is random given it is at its mean."""
    books: list[State]
    """What is carried into each slice, whatever its liquidity. Length: n_steps."""
    levels: np.ndarray
    """Log liquidity of each path, a stress left out; a single zero where liquidity does not vary. Shape: (n_levels,)"""
    schedule: str
    """Which schedule was followed so far."""


def states(market: Market, order: Order, n_levels: int = 41) -> States:
    """States along the best fixed schedule (an even one where there is no optimum) of an average day.

    Inventory, transient impact and price are what this schedule carries into the slice on a market without noise;
    spread, volume and volatility are at their means given the liquidity of the slice.

    Args:
        market: the market.
        order: the order.
        n_levels: levels of log liquidity, evenly within two standard deviations.
    """
    mean = lq.static(market, order)
    varies = market.liquidity_volatility > 0
    u = np.linspace(-_WIDTH, _WIDTH, n_levels) if varies else np.zeros(1)
    still = replace(mean, liquidity_volatility=market.liquidity_volatility, liquidity_reversion=_STILL)
    try:
        trades, schedule = lq.schedule(market, order).clip(0.0, order.shares), "the best fixed schedule"
    except ValueError:
        trades, schedule = np.full(order.n_steps, order.shares / order.n_steps), "an even schedule"
    turn = iter(trades)
    average = Paths.shaped(mean, order, _start(np.zeros(1), order))
    steps = rollout(lambda _: np.array([next(turn)]), average, market, order, get_action_mode("shares"))
    books = [step.before for step in steps]
    tape = Paths.shaped(still, order, _start(u, order))
    return States(market, order, tape, books, market.liquidity_volatility * u, schedule)


def pace_map(agent: Agent, at: States) -> np.ndarray:
    """Pace that an agent chooses in each state, as far as the cap lets it.

    Shape:
        (n_levels, n_steps). NaN where nothing is left.
    """
    n_steps = at.order.n_steps
    execute = executor(agent.act, at.market, at.order, get_action_mode(agent.action_mode))
    paces = []
    for t, book in enumerate(at.books):
        fill = execute(book, at.tape.at(t), n_steps - t, t == n_steps - 1).fill
        paces.append(pace(fill.shares - fill.block, book.remaining, n_steps - t))
    return np.stack(paces, axis=-1)


def _start(u: np.ndarray, order: Order) -> Normals:
    """No noise, but log liquidity begins at ``u`` standard deviations."""
    zeros = np.zeros((len(u), order.n_steps))
    liquidity = zeros.copy()
    liquidity[:, 0] = u
    return Normals(liquidity, *[zeros] * 5)
