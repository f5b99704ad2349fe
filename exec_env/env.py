"""The Gymnasium environment: one execution at a time, on plain floats."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from exec_env import observation
from exec_env.actions import ActionMode, Decoder
from exec_env.execution import Slice, bps, opening, terms, trade
from exec_env.info import episode_info, step_info
from exec_env.observation import MarketEntries, Observer
from exec_env.problem import make_problem
from exec_env.reward import Reward
from exec_env.tape import Tape
from exec_env.validation import unknown

_AHEAD = 64
"""Paths shaped at once; the cost of shaping hardly depends on their number."""


_Path = tuple[list[Slice], list[MarketEntries], float]
"""Slices, what is seen before each of them and at the end, and the arrival price."""


class ExecutionEnv(gym.Env[np.ndarray, Any]):
    """Sell or buy an order over a fixed number of slices in a market with random liquidity.

    ## Description
    In each slice the agent sees the market, trades a part of what is left, and pays spread, temporary and transient
    impact; its permanent impact and the market's moves change the price for the rest. After the last slice what is
    left is sold at once, at a penalty, so the episode always ends flat. Equations: ``exec_env.execution.trade``.

    ## Action Space
    One of four meanings, chosen by ``action``: ``pace`` (Discrete: multiples of selling evenly what is left, level 1
    being TWAP), ``participation`` (Box: share of the slice's volume; ``participation-levels`` is its Discrete form),
    ``fraction`` (Box [0, 1]: of the remaining inventory), ``shares`` (Box). More than the cap or the remainder allows
    is clipped.

    ## Observation Space
    Box(10,), float32: see ``exec_env.observation.Observation`` for index, symbol, meaning, unit and range.

    ## Rewards
    Minus the slice's cost in basis points of the arrival notional: see ``exec_env.reward.Reward``.

    ## Starting State
    All shares left, no impact, log liquidity from its stationary law. Paths are a pure function of the seed: path e
    of a seeded environment does not depend on what the agent did before.

    ## Episode End
    Terminated when all is traded, at the latest after ``n_steps`` slices. Never truncated.

    ## Information
    Every step: see ``exec_env.info.step_info``; the last one adds ``shortfall_bps`` and ``objective_bps``.

    ## Arguments
    ``preset`` (a name from ``exec_env.presets.PRESETS``), ``action``, ``levels`` (of a discrete action), ``reward``
    ("expected" or "shortfall"), ``violation_penalty``, ``smoothness_penalty``, ``render_mode``, every
    field of ``Market`` and ``Order``, and ``tape`` with its options, as in ``exec_env.problem.make_problem``.

    ``reset(options={"start": row})`` begins an episode on a tape at that row.

    ## Version History
    v0: initial version.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        preset: str = "default",
        action: str | ActionMode | None = None,
        levels: Any = None,
        reward: str = "expected",
        violation_penalty: float = 0.0,
        smoothness_penalty: float = 0.0,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        problem = make_problem(preset, action=action, levels=levels, **overrides)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode = {render_mode!r}: must be None or 'rgb_array'")
        self.problem, self.market, self.order, self.mode = problem, problem.market, problem.order, problem.action
        self.render_mode = render_mode
        self.observation_space = observation.space()
        self.action_space = self.mode.space(self.order)
        self.reward = Reward(reward, violation_penalty, smoothness_penalty)  # type: ignore[arg-type]
        self._decode = Decoder(self.mode, self.order).one
        self._to_shares = self.mode.shares
        self._observe = Observer(self.market, self.order)
        self._terms = terms(self.market, self.order)
        self._sign = self.order.sign
        self._ahead: list[_Path] = []
        self._ahead_rng: np.random.Generator | None = None
        self._slices: list[Slice] = []
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin the next path; ``seed`` begins a new sequence of paths."""
        super().reset(seed=seed)
        self._slices, self._seen, self._arrival_price = self._next_path(options or {})
        self._to_bps = bps(self.order.shares * self._arrival_price)
        self._book = opening(self.order.shares)
        self._t, self._over = 0, False
        self._shortfall = self._objective = 0.0
        self._history: list[dict[str, Any]] = []
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Trade one slice.

        Raises:
            ResetNeeded: when the episode is over.
            ValueError: for an action outside the space.
        """
        if self._over:
            raise ResetNeeded("the episode is over: call reset() before the next step()")
        order, book, now = self.order, self._book, self._slices[self._t]
        left = order.n_steps - self._t
        asked = self._to_shares(self._decode(action), book.remaining, left, now.volume)
        self._book, fill = trade(book, now, asked, self._terms, left == 1)
        self._t += 1
        self._shortfall += fill.shortfall
        self._objective += fill.objective
        self._over = self._book.remaining <= 0.0
        info = step_info(book, fill, self._arrival_price, self._sign, self._to_bps)
        if self._over:
            info |= episode_info(self._shortfall, self._objective, self._to_bps)
        if self.render_mode:
            self._history.append(info | {"remaining": self._book.remaining, "volume": now.volume})
        reward = self.reward(fill, book, self._book, order.shares, self._to_bps)
        return self._observation(), reward, self._over, False, info

    def render(self) -> np.ndarray | None:
        """The episode so far as a picture. Shape: (height, width, 3), uint8."""
        if self.render_mode is None:
            gym.logger.warn("render() does nothing without render_mode='rgb_array'")
            return None
        if not self._slices:
            raise ResetNeeded("call reset() before render()")
        from exec_env.render import draw

        return draw(self.market, self.order, self._arrival_price, self._history)

    def _observation(self) -> np.ndarray:
        entries = self._observe(self._book, self._seen[self._t], self.order.n_steps - self._t)
        return np.array(entries, np.float32)

    def _next_path(self, options: dict[str, Any]) -> _Path:
        for name in options:
            if name != "start":
                raise ValueError(unknown("reset option", name, ["start"]))
        if "start" in options:
            if self.problem.recording is None:
                raise ValueError("reset option 'start': only an environment on a tape has rows to start at")
            return self._paths(self.problem.recording.tape(self.market, self.order, np.array([options["start"]])))[0]
        if self._ahead_rng is not self.np_random:
            self._ahead, self._ahead_rng = [], self.np_random
        if not self._ahead:
            self._ahead = self._paths(self.problem.source.sample([self.np_random], _AHEAD))[::-1]
        return self._ahead.pop()

    def _paths(self, tape: Tape) -> list[_Path]:
        """The paths of a tape as lists of plain floats, which step ten times faster than NumPy scalars."""
        entries = self._observe.market(tape.slices)
        paths = []
        for e in range(tape.n_paths):
            seen = list(zip(*(column[e].tolist() for column in entries), strict=True))
            # After the last slice the last one is shown again: there is nothing left to decide.
            paths.append((tape.path(e), [*seen, seen[-1]], float(tape.arrival_price[e])))
        return paths
