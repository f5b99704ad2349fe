"""The Gymnasium environment: one execution at a time, on plain floats."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from exec_env.base.errors import InputError
from exec_env.base.validation import shown, unknown
from exec_env.envs.factory import ONE_ASSET, build_problem, plain
from exec_env.envs.features import Sight
from exec_env.envs.problem import Problem
from exec_env.market.execution import bps
from exec_env.market.paths import Paths, columns_of, mapped, with_columns

_AHEAD = 64
"""Paths shaped at once; the cost of shaping hardly depends on their number."""


_Path = tuple[Any, np.ndarray, Any]
"""Columns of plain floats, observations but for our own entries, and the arrival price."""


class SpecInPlainNumbers:
    """Keeps the specification that Gymnasium made the environment from, in numbers that JSON knows."""

    _spec: Any = None

    @property
    def spec(self) -> Any:
        """What the environment was made from; ``spec.to_json()`` works with NumPy numbers as options too."""
        return self._spec

    @spec.setter
    def spec(self, spec: Any) -> None:
        if spec is not None:
            spec.kwargs = {name: plain(value) for name, value in spec.kwargs.items()}
        self._spec = spec


def check_seed(seed: Any, num_envs: int = 0) -> None:
    """Refuse what is no seed, nor, where there are several environments, a sequence of seeds.

    Raises:
        InputError: naming the value and what is allowed.
    """
    several = num_envs > 0 and isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str | bytes)
    for s in seed if several and getattr(seed, "ndim", None) != 0 else [seed]:
        if s is not None and (isinstance(s, bool) or not isinstance(s, int | np.integer) or s < 0):
            each = ", or one for each environment" if num_envs else ", or None"
            raise InputError(f"seed = {shown(s)}: must be a whole number >= 0{each}")


def episode_info(shortfall: Any, objective: Any, to_bps: Any) -> dict[str, Any]:
    """What the last step adds: shortfall_bps as realised, and objective_bps, the episode's J [bps].

    The objective is the shortfall without the martingale part of the price, plus the risk charge; its mean is J.
    """
    return {"shortfall_bps": to_bps * shortfall, "objective_bps": to_bps * objective}


class ExecutionEnv(SpecInPlainNumbers, gym.Env[np.ndarray, Any]):
    """Sell or buy an order over a fixed number of slices in a market with random liquidity.

    ## Description
    In each slice the agent sees the market, trades a part of what is left, and pays spread, temporary and transient
    impact; its permanent impact and the market's moves change the price for the rest. After the last slice what is
    left is sold at once on top of the last trade, so the episode always ends flat. Equations:
    ``exec_env.market.execution.trade``.

    ## Action Space
    One of four meanings, chosen by ``action``: ``pace`` (Discrete: multiples of selling evenly what is left, level 1
    being TWAP), ``participation`` (Box: share of the slice's volume; ``participation-levels`` is its Discrete form),
    ``fraction`` (Box [0, 1]: of the remaining inventory), ``shares`` (Box). More than the cap or the remainder allows
    is clipped.

    ## Observation Space
    Box, float32, of ten entries, those of ``tape_features`` and those of ``features``: for the ten see
    ``exec_env.one_asset.observation.Observation``, with index, symbol, meaning, unit and range.

    ## Rewards
    Minus the slice's cost in basis points of the arrival notional: see ``exec_env.envs.reward.Reward``.

    ## Starting State
    All shares left, no impact, log liquidity from its stationary law. Paths are a pure function of the seed: path e
    of a seeded environment does not depend on what the agent did before.

    ## Episode End
    Terminated when all is traded, at the latest after ``n_steps`` slices. Never truncated.

    ## Information
    Every step: see ``exec_env.one_asset.problem.OneAsset.info``; the last one adds ``shortfall_bps`` and
    ``objective_bps``.

    ## Arguments
    ``preset`` (a name from ``exec_env.PRESETS``), ``action``, ``levels`` (of a discrete action), ``reward``
    ("expected" or "shortfall"), ``violation_penalty``, ``smoothness_penalty``, ``render_mode``, every
    field of ``Market`` and ``Order`` (such as ``impact_exponent``: 1 is linear temporary impact, 0.5 and 0.6 are what
    markets show), ``market`` (a calibrated market's file) and ``tape`` with its options, as in
    ``exec_env.one_asset.options.make_problem``. Impact that is not given follows price, volatility and volume.

    ``reset(options={"start": row})`` begins an episode on a tape at that row.

    ## Version History
    v0: initial version.

    Another problem than that of one asset has actions, observation and information of its own: see
    ``exec_env.envs.problem.Problem``, of which ``problem`` names the factory as ``module:name``.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, problem: Any = ONE_ASSET, render_mode: str | None = None, **options: Any) -> None:
        self.problem = build_problem(problem, options, type(self).__name__)
        if type(self.problem).picture is Problem.picture:
            self.metadata = self.metadata | {"render_modes": []}
        if render_mode not in (None, *self.metadata["render_modes"]):
            known = " or ".join(map(repr, self.metadata["render_modes"]))
            raise InputError(f"render_mode = {render_mode!r}: must be None{' or ' * bool(known)}{known}")
        self.market, self.order = getattr(self.problem, "market", None), getattr(self.problem, "order", None)
        self.render_mode = render_mode
        self.actions, self._sight = self.problem.actions(), Sight(self.problem)
        self.mode, self.reward = self.actions.mode, self.problem.reward
        self.observation_space, self.action_space = self._sight.space, self.actions.space
        self._renewed, self._n_steps = self._sight.renewed, self.problem.n_steps
        # What every step calls, found once; a step unpacks the tuple, which is cheaper than seven look-ups.
        self._calls = (
            *(self.actions.one, self.actions.ask, self.problem.step, self.problem.over, self.problem.info),
            *(self.reward.__call__, self._renewed),
        )
        self._ahead: list[_Path] = []
        self._ahead_rng: np.random.Generator | None = None
        self._slices: list[Any] = []
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin the next path; ``seed`` begins a new sequence of paths."""
        if options is not None and not isinstance(options, dict):
            raise InputError(f"reset options = {shown(options)}: must be a dictionary, or None")
        check_seed(seed)
        super().reset(seed=None if seed is None else int(seed))
        columns, seen, self._arrival_price = self._next_path(options or {})
        # One path at a time: Python's garbage collector would go through the slices of all paths again and again.
        self._slices = self.problem.each(columns)
        self._slices.append(self._slices[-1])  # shown again when all is over
        self._observations = seen.copy()  # handed out row by row
        self._to_bps = bps(self.problem.notional(self._arrival_price))
        self._state = self.problem.opening()
        self._t, self._over = 0, False
        self._shortfall = self._objective = 0.0
        self._history: list[dict[str, Any]] = []
        return self._renewed(self._observations[0], self._state, self._slices[0], self._n_steps), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Trade one slice.

        Raises:
            ResetNeeded: when the episode is over.
            InputError: for an action outside the space.
        """
        if self._over:
            raise ResetNeeded("the episode is over: call reset() before the next step()")
        decode, ask, trade, is_over, told, pays, renewed = self._calls
        state, t, to_bps = self._state, self._t, self._to_bps
        left, now = self._n_steps - t, self._slices[t]
        after, fill = trade(state, now, ask(decode(action), state, now, left), left)
        self._state, self._t = after, t + 1
        self._shortfall += fill.shortfall
        self._objective += fill.objective
        self._over = over = is_over(after, left - 1)
        info = told(state, fill, self._arrival_price, to_bps)
        if over:
            info |= episode_info(self._shortfall, self._objective, to_bps)
        if self.render_mode:
            self._history.append(info | {"before": state, "after": after, "now": now})
        reward = pays(fill, state, after, self.problem.size, to_bps)
        observation = renewed(self._observations[t + 1], after, self._slices[t + 1], left - 1)
        return observation, reward, over, False, info

    def render(self) -> np.ndarray | None:
        """The episode so far as a picture. Shape: (height, width, 3), uint8."""
        if self.render_mode is None:
            gym.logger.warn("render() does nothing without render_mode='rgb_array'")
            return None
        if not self._slices:
            raise ResetNeeded("call reset() before render()")
        return self.problem.picture(self._arrival_price, self._history)

    def _next_path(self, options: dict[str, Any]) -> _Path:
        for name in options:
            if name != "start":
                raise InputError(unknown("reset option", name, ["start"]))
        if "start" in options:
            if self.problem.starts() is None:
                raise InputError("reset option 'start': only an environment on a tape has rows to start at")
            return self._prepared(self.problem.at(np.array([options["start"]]), self.np_random))[0]
        if self._ahead_rng is not self.np_random:
            self._ahead, self._ahead_rng = [], self.np_random
        if not self._ahead:
            self._ahead = self._prepared(self.problem.sample([self.np_random], _AHEAD))[::-1]
        return self._ahead.pop()

    def _prepared(self, paths: Paths) -> list[_Path]:
        """Paths as columns of plain floats, which step ten times faster than NumPy scalars."""
        n, n_steps = paths.n_paths, self._n_steps
        # After the last slice it is shown again: there is nothing left to decide.
        shown = mapped(paths.slices, lambda column: column[:, [*range(n_steps), -1]])
        left = np.arange(n_steps, -1.0, -1.0)
        entries = self._sight.checked(self.problem.observe(self.problem.opening(), self.problem.seen(shown), left))
        seen = np.zeros((n, n_steps + 1, len(self._sight.names)), np.float32)
        for i, entry in enumerate(entries):
            seen[..., i] = entry
        each = zip(*map(_floats, columns_of(paths.slices)), strict=True)
        slices = [with_columns(paths.slices, columns) for columns in each]
        prices = paths.arrival_price.tolist() if paths.arrival_price.ndim == 1 else list(paths.arrival_price)
        return list(zip(slices, seen, prices, strict=True))


def _floats(column: np.ndarray) -> list[list[Any]]:
    """A column of paths as plain floats, or as small arrays where it has trailing axes.

    Numbers that are the same all over are one object.
    """
    if any(column.strides):
        return column.tolist() if column.ndim == 2 else [list(path) for path in column]
    return [[float(column.flat[0])] * column.shape[1]] * column.shape[0]
