"""What an agent does in a given state: its pace as liquidity and time vary, everything else as on an average day."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from exec_env.base.errors import NoBound
from exec_env.envs.rollout import acting, executor, rollout
from exec_env.market.execution import State
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths
from exec_env.one_asset.core import OrderInMarket
from exec_env.one_asset.picture import pace
from exec_env.optimum.capped import fractions
from exec_env.optimum.means import averaged
from exec_env.optimum.schedule import best_schedule

_WIDTH = 2.0  # levels of liquidity reach this many standard deviations, where 95 % of the time is spent
_STILL = 1e-12  # [1/day] speed at which log liquidity returns to its mean when it is to stay where it is


@dataclass(frozen=True)
class States:
    """States in which agents are asked: every level of liquidity in every slice."""

    problem: OrderInMarket
    paths: Paths
    """One path for each level, on which liquidity stays and all that is random given it is at its mean."""
    states: list[State]
    """What is carried into each slice, whatever its liquidity. Length: n_steps."""
    levels: np.ndarray
    """Log liquidity of each path, a stress left out; a single zero where liquidity does not vary. Shape: (n_levels,)"""
    schedule: str
    """Which schedule was followed so far."""

    def map(self, agent: Any) -> np.ndarray:
        """Pace that an agent chooses in each state, as far as the cap lets it.

        An agent with memory is asked with a fresh one in each slice.

        Shape:
            (n_levels, n_steps). NaN where nothing is left.
        """
        n_steps, n = self.problem.n_steps, len(self.levels)
        paces = []
        for t, state in enumerate(self.states):
            execute = executor(acting(agent, n, self.problem), self.problem, self.problem.actions(agent.action_mode))
            state = State(*(np.broadcast_to(entry, n) for entry in state))  # the same at every level
            fill = execute(state, self.paths.at(t), n_steps - t).fill
            paces.append(pace(fill.shares - fill.block, state.remaining, n_steps - t))
        return np.stack(paces, axis=-1)

    @property
    def caption(self) -> str:
        """What the map shows, for the page."""
        carried = f"inventory, transient impact and price are what {self.schedule} carries into the slice"
        even = "Shares traded in a slice as a multiple of selling evenly what is left"
        if len(self.levels) == 1:
            return f"{even}; 1 is the pace of TWAP. Liquidity does not vary here. {carried[0].upper()}{carried[1:]}."
        stress = ", the stress not counted" if self.problem.market.stress != "none" else ""
        return (
            f"{even}: white is the pace of TWAP, red faster, blue slower. Log liquidity runs over two standard "
            f"deviations to either side{stress}; {carried} on an average day; spread, volume and volatility are at "
            "their means given the liquidity. The cap on participation applies."
        )


def states(problem: OrderInMarket, n_levels: int = 41) -> States:
    """States along the best fixed schedule (an even one where there is no optimum) of an average day.

    Inventory, transient impact and price are what this schedule carries into the slice on a market without noise;
    spread, volume and volatility are at their means given the liquidity of the slice.

    Args:
        problem: market and order.
        n_levels: levels of log liquidity, evenly within two standard deviations.
    """
    market, order = problem.market, problem.order
    mean = averaged(market, order)
    varies = market.liquidity_volatility > 0
    u = np.linspace(-_WIDTH, _WIDTH, n_levels) if varies else np.zeros(1)
    still = replace(mean, liquidity_volatility=market.liquidity_volatility, liquidity_reversion=_STILL)
    try:
        trades, schedule = best_schedule(market, order), "the best fixed schedule"
    except NoBound:
        trades, schedule = np.full(order.n_steps, order.shares / order.n_steps), "an even schedule"
    turn = iter(fractions(trades))
    average = _at_means(Paths.shaped(mean, order, _start(np.zeros(1), order)), problem)
    steps = rollout(lambda _: np.array([next(turn)]), average, problem, problem.actions("fraction"))
    carried = [step.before for step in steps]
    paths = _at_means(Paths.shaped(still, order, _start(u, order)), problem)
    return States(problem, paths, carried, market.liquidity_volatility * u, schedule)


def _at_means(paths: Paths, problem: OrderInMarket) -> Paths:
    """The same with the features of the problem's tape, if it has any, at their means."""
    means = (np.zeros((paths.n_paths, paths.n_steps)),) * len(problem.recorded)
    return replace(paths, slices=paths.slices._replace(features=means))


def _start(u: np.ndarray, order: Order) -> Normals:
    """No noise, but log liquidity begins at ``u`` standard deviations."""
    zeros = np.zeros((len(u), order.n_steps))
    liquidity = zeros.copy()
    liquidity[:, 0] = u
    return Normals(liquidity, *[zeros] * 5)
