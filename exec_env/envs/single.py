"""The Gymnasium environment: one execution at a time, on plain floats."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from exec_env.base.errors import InputError
from exec_env.base.validation import unknown
from exec_env.data.episodes import TapeSource
from exec_env.envs.reward import Reward
from exec_env.market.execution import Slice, bps, opening, terms, trade
from exec_env.market.paths import Paths
from exec_env.one_asset import observation
from exec_env.one_asset.actions import ActionMode, Decoder
from exec_env.one_asset.info import episode_info, step_info
from exec_env.one_asset.observation import Observer
from exec_env.one_asset.problem import make_problem

_AHEAD = 64
"""Paths shaped at once; the cost of shaping hardly depends on their number."""


_Path = tuple[Slice, np.ndarray, float]
"""Columns of plain floats, observations but for our own entries, and the arrival price."""


class ExecutionEnv(gym.Env[np.ndarray, Any]):
    """Sell or buy an order over a fixed number of slices in a market with random liquidity.

    ## Description
    In each slice the agent sees the market, trades a part of what is left, and pays spread, temporary and transient
    impact; its permanent impact and the market's moves change the price for the rest. After the last slice what is
    left is sold at once, at a penalty, so the episode always ends flat. Equations: ``exec_env.market.execution.trade``.

    ## Action Space
    One of four meanings, chosen by ``action``: ``pace`` (Discrete: multiples of selling evenly what is left, level 1
    being TWAP), ``participation`` (Box: share of the slice's volume; ``participation-levels`` is its Discrete form),
    ``fraction`` (Box [0, 1]: of the remaining inventory), ``shares`` (Box). More than the cap or the remainder allows
    is clipped.

    ## Observation Space
    Box(10,), float32: see ``exec_env.one_asset.observation.Observation`` for index, symbol, meaning, unit and range.

    ## Rewards
    Minus the slice's cost in basis points of the arrival notional: see ``exec_env.envs.reward.Reward``.

    ## Starting State
    All shares left, no impact, log liquidity from its stationary law. Paths are a pure function of the seed: path e
    of a seeded environment does not depend on what the agent did before.

    ## Episode End
    Terminated when all is traded, at the latest after ``n_steps`` slices. Never truncated.

    ## Information
    Every step: see ``exec_env.one_asset.info.step_info``; the last one adds ``shortfall_bps`` and ``objective_bps``.

    ## Arguments
    ``preset`` (a name from ``exec_env.PRESETS``), ``action``, ``levels`` (of a discrete action), ``reward``
    ("expected" or "shortfall"), ``violation_penalty``, ``smoothness_penalty``, ``render_mode``, every
    field of ``Market`` and ``Order`` (such as ``impact_exponent``: 1 is linear temporary impact, 0.5 and 0.6 are what
    markets show), ``market`` (a calibrated market's file) and ``tape`` with its options, as in
    ``exec_env.one_asset.problem.make_problem``.

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
            raise InputError(f"render_mode = {render_mode!r}: must be None or 'rgb_array'")
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
        self._slices: list[Any] = []
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin the next path; ``seed`` begins a new sequence of paths."""
        super().reset(seed=seed)
        columns, seen, self._arrival_price = self._next_path(options or {})
        # One path at a time: Python's garbage collector would go through the slices of all paths again and again.
        # They are slices without names, which take a third of the time to make and to unpack.
        self._slices = list(columns.each())
        self._volumes = columns.volume
        self._observations = seen.copy()  # handed out row by row
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
            InputError: for an action outside the space.
        """
        if self._over:
            raise ResetNeeded("the episode is over: call reset() before the next step()")
        order, book, t, to_bps = self.order, self._book, self._t, self._to_bps
        left = order.n_steps - t
        asked = self._to_shares(self._decode(action), book.remaining, left, self._volumes[t])
        after, fill = trade(book, self._slices[t], asked, self._terms, left == 1)
        self._book, self._t = after, t + 1
        self._shortfall += fill.shortfall
        self._objective += fill.objective
        self._over = over = after.remaining <= 0.0
        info = step_info(book, fill, self._arrival_price, self._sign, to_bps)
        if over:
            info |= episode_info(self._shortfall, self._objective, to_bps)
        if self.render_mode:
            self._history.append(info | {"remaining": after.remaining, "volume": self._volumes[t]})
        reward = self.reward(fill, book, after, order.shares, to_bps)
        return self._observation(), reward, over, False, info

    def render(self) -> np.ndarray | None:
        """The episode so far as a picture. Shape: (height, width, 3), uint8."""
        if self.render_mode is None:
            gym.logger.warn("render() does nothing without render_mode='rgb_array'")
            return None
        if not self._slices:
            raise ResetNeeded("call reset() before render()")
        from exec_env.one_asset.picture import draw

        return draw(self.market, self.order, self._arrival_price, self._history)

    def _observation(self) -> np.ndarray:
        return self._observe.renewed(self._observations[self._t], self._book)

    def _next_path(self, options: dict[str, Any]) -> _Path:
        for name in options:
            if name != "start":
                raise InputError(unknown("reset option", name, ["start"]))
        if "start" in options:
            if not isinstance(self.problem.source, TapeSource):
                raise InputError("reset option 'start': only an environment on a tape has rows to start at")
            return self._paths(self.problem.source.at(np.array([options["start"]]), self.np_random))[0]
        if self._ahead_rng is not self.np_random:
            self._ahead, self._ahead_rng = [], self.np_random
        if not self._ahead:
            self._ahead = self._paths(self.problem.source.sample([self.np_random], _AHEAD))[::-1]
        return self._ahead.pop()

    def _paths(self, tape: Paths) -> list[_Path]:
        """The paths of a tape as columns of plain floats, which step ten times faster than NumPy scalars."""
        n_steps = self.order.n_steps
        # After the last slice it is shown again: there is nothing left to decide.
        shown = tape.slices._replace(levels=()).map(lambda column: column[:, [*range(n_steps), -1]])
        left = np.arange(n_steps, -1.0, -1.0)
        seen = np.broadcast_arrays(*self._observe(opening(1.0), self._observe.market(shown), left))
        slices = map(Slice.of, zip(*map(_floats, tape.slices.columns), strict=True))
        return list(zip(slices, np.stack(seen, -1, dtype=np.float32), tape.arrival_price.tolist(), strict=True))


def _floats(column: np.ndarray) -> list[list[float]]:
    """A column of a tape as plain floats; numbers that are the same all over are one object."""
    if any(column.strides):
        return column.tolist()
    return [[float(column.flat[0])] * column.shape[1]] * column.shape[0]
