"""The native vector environment: many executions at once, on NumPy arrays, through the same equations."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from exec_env.base.errors import InputError
from exec_env.base.validation import require_count, shown, unknown
from exec_env.envs.factory import ONE_ASSET, build_problem
from exec_env.envs.features import Sight
from exec_env.envs.paths_ahead import PathsAhead
from exec_env.envs.registry import get_spec
from exec_env.envs.single import SpecInPlainNumbers, check_seed, episode_info
from exec_env.market.execution import bps

_MOST = 10**7  # sub-environments, whose paths take a machine's memory


class ExecutionVectorEnv(SpecInPlainNumbers, gym.vector.VectorEnv[np.ndarray, Any, np.ndarray]):
    """``num_envs`` executions at once; see ``ExecutionEnv`` for spaces, rewards, information and arguments.

    Sub-environment i of ``reset(seed=s)`` plays, path for path, what ``ExecutionEnv`` seeded with s + i plays, as in
    Gymnasium's SyncVectorEnv; ``seed`` may also be a sequence of one seed each.

    ``autoreset_mode`` is NEXT_STEP by default, as of Gymnasium's own vector environments: a finished sub-environment
    begins its next path one step later, and ignores that step's action. With SAME_STEP the next path begins within the
    step, and the observation and information that ended the last one are ``info["final_obs"]`` and
    ``info["final_info"]``. With DISABLED a finished sub-environment stands still, at reward zero, until
    ``reset(options={"reset_mask": mask})``.

    Shape:
        Observations (num_envs, entries), actions (num_envs,) or (num_envs, ...); the rest (num_envs,).
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        problem: Any = ONE_ASSET,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: None = None,
        **options: Any,
    ) -> None:
        require_count(high=_MOST, num_envs=num_envs)
        if render_mode is not None:
            raise InputError(f"render_mode = {render_mode!r}: a vector environment does not render")
        self.problem = build_problem(problem, options, type(self).__name__)
        self.market, self.order = getattr(self.problem, "market", None), getattr(self.problem, "order", None)
        self.num_envs = n = int(num_envs)
        self.render_mode = None
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode}
        self.actions, self._sight = self.problem.actions(), Sight(self.problem)
        self.mode, self.reward = self.actions.mode, self.problem.reward
        self.single_observation_space, self.single_action_space = self._sight.space, self.actions.space
        self.observation_space = batch_space(self.single_observation_space, n)
        self.action_space = batch_space(self.single_action_space, n)
        self._t = np.zeros(n, np.int64)
        # Slices left: n_steps - t, as the floats that the equations want.
        self._left = np.zeros(n)
        self._done = np.ones(n, bool)
        self._state = self.problem.opening(np.zeros(n))
        self._shortfall, self._objective = np.zeros((2, n))
        self._arrival_price: np.ndarray = np.ones(n)
        self._to_bps = np.ones(n)
        self._ahead = PathsAhead(self.problem.source, n, self.problem.n_steps)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin the next path everywhere, or where ``options["reset_mask"]`` is True."""
        if options is not None and not isinstance(options, dict):
            raise InputError(f"reset options = {shown(options)}: must be a dictionary, or None")
        for name in options or {}:
            if name != "reset_mask":
                raise InputError(unknown("reset option", name, ["reset_mask"]))
        self._seed(seed)
        everywhere = np.ones(self.num_envs, bool)
        mask = np.asarray((options or {}).get("reset_mask", everywhere))
        if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
            raise InputError(f"reset option 'reset_mask': must be {self.num_envs} booleans, at least one of them True")
        self._begin(np.flatnonzero(mask))
        self._now = self._slices()
        return self._observation(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Trade one slice in every sub-environment.

        Raises:
            ResetNeeded: before the first reset.
            InputError: for actions outside the space.
        """
        if not self._ahead.seeded:
            raise gym.error.ResetNeeded("call reset() before the first step()")
        problem, state, now, was_done = self.problem, self._state, self._now, self._done
        some_done = was_done.any()
        left = np.maximum(self._left, 1.0) if some_done else self._left
        values = self.actions.many(actions, self.num_envs)
        after, fill = problem.step(state, now, self.actions.ask(values, state, now, left), left)
        going = ~was_done if some_done else 1
        self._t += going
        self._left -= going
        self._shortfall += fill.shortfall
        self._objective += fill.objective
        self._done = problem.over(after, self._left)
        rewards = self.reward(fill, state, after, problem.size, self._to_bps)
        if some_done:  # what is over stands still
            self._done |= was_done
            rewards = np.where(was_done, 0.0, rewards)
            after = type(after)._make(_where(was_done, old, new) for old, new in zip(state, after, strict=True))
        self._state = after
        terminated = self._done & ~was_done if self.autoreset_mode == AutoresetMode.NEXT_STEP else self._done.copy()
        infos = self._infos(problem.info(state, fill, self._arrival_price, self._to_bps), was_done)
        resets = {AutoresetMode.SAME_STEP: self._done, AutoresetMode.NEXT_STEP: was_done}.get(self.autoreset_mode)
        if resets is not None and resets.any():
            self._begin(np.flatnonzero(resets))
        self._now = self._slices()
        return self._observation(), rewards, terminated, np.zeros(self.num_envs, bool), infos

    def close_extras(self, **kwargs: Any) -> None:
        """End the process that makes paths ahead, where there is one."""
        if hasattr(self, "_ahead"):  # older versions of Gymnasium close what could not be made
            self._ahead.forget()

    def _infos(self, infos: dict[str, Any], was_done: np.ndarray) -> dict[str, Any]:
        """Information in Gymnasium's layout for the autoreset mode."""
        ended = self._done & ~was_done
        if not ended.any():
            return _masked(infos, ~was_done)
        final = episode_info(self._shortfall, self._objective, self._to_bps)
        if self.autoreset_mode != AutoresetMode.SAME_STEP:
            return _masked(infos, ~was_done) | _masked(final, ended)
        final_obs = np.empty(self.num_envs, dtype=object)  # filled with None
        which = np.flatnonzero(ended)
        final_obs[which] = list(self._observation(which))
        final_info = _masked(infos | final, ended)
        return _masked(infos, ~ended) | _masked({"final_obs": final_obs, "final_info": final_info}, ended)

    def _seed(self, seed: int | Sequence[int | None] | None) -> None:
        """One generator per sub-environment; those without a new seed go on where they are."""
        going = self._ahead.seeded
        if seed is None and going:
            return
        check_seed(seed, self.num_envs)
        seeds: Sequence[int | None]
        if seed is None:
            seeds = self.np_random.integers(2**63, size=self.num_envs).tolist()
        elif isinstance(seed, int | np.integer):
            super().reset(seed=int(seed))
            seeds = range(int(seed), int(seed) + self.num_envs)
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise InputError(f"seed: {len(seeds)} seeds for {self.num_envs} environments")
        new = {i: np.random.default_rng(s) for i, s in enumerate(seeds) if s is not None or not going}
        self._ahead.seed(new)

    def _begin(self, which: np.ndarray) -> None:
        """Begin the next path in ``which``."""
        prices = self._ahead.advance(which)
        if prices.ndim != self._arrival_price.ndim:
            self._arrival_price = np.ones((self.num_envs, *prices.shape[1:]))
        self._arrival_price[which] = prices
        self._to_bps[which] = bps(self.problem.notional(prices))
        # The step has just made these arrays, so nobody else holds them.
        for column, value in zip(self._state, self.problem.opening(), strict=True):
            column[which] = value
        self._left[which] = self.problem.n_steps
        for column in (self._shortfall, self._objective, self._t, self._done):
            column[which] = 0

    def _slices(self, which: np.ndarray | None = None) -> Any:
        """The slice that is on, everywhere or in ``which``. After the last slice the last one is shown again."""
        t = self._t if which is None else self._t[which]
        return self._ahead.at(np.minimum(t, self.problem.n_steps - 1), which)

    def _observation(self, which: np.ndarray | None = None) -> np.ndarray:
        """Observations of all sub-environments, or of ``which``. Shape: (n, entries)."""
        state, now, left = self._state, self._now, self._left
        if which is not None:
            state, now, left = type(state)._make(entry[which] for entry in state), self._slices(which), left[which]
        return self._sight.stack(state, self.problem.seen(now), left, len(left))


def native(env_id: str, num_envs: int, autoreset_mode: AutoresetMode | str, **options: Any) -> ExecutionVectorEnv:
    """The native vector environment of any id, also of one that was registered without it."""
    spec = get_spec(env_id)
    return ExecutionVectorEnv(num_envs, spec.problem, autoreset_mode, **(spec.options | options))


def _where(mask: np.ndarray, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """``np.where`` of paths, for columns that may have trailing axes."""
    return np.where(mask.reshape(-1, *[1] * (yes.ndim - 1)), yes, no) if yes.ndim > 1 else np.where(mask, yes, no)


def _masked(infos: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
    """Gymnasium's layout of vector information: beside each key, under ``_key``, where it holds."""
    return infos | {f"_{key}": mask for key in infos}


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    for known in AutoresetMode if isinstance(mode, str | AutoresetMode) else ():
        if mode in (known, known.name, known.value):
            return known
    raise InputError(f"autoreset_mode = {shown(mode)}: must be one of {', '.join(m.name for m in AutoresetMode)}")
