"""What learners on Stable-Baselines3 share: intervals, seeds, schedules, and run folders without pickles."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecFrameStack
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations

from exec_env.agents.frames import WithFrames
from exec_env.base.errors import InputError
from exec_env.envs.sb3 import SB3VecEnv
from exec_env.harness.agents import Setup
from exec_env.harness.training.weights import Head, load_weights, save_weights, weights_must_fit
from exec_env.one_asset.torch_market import torch_device

Report = Callable[[int, dict[str, float]], None]


class WholeRun:
    """Mixed into an algorithm whose training is cut into several calls of ``learn``.

    Stable-Baselines3 measures progress, which schedules depend on, within one call.
    """

    total_steps = 1

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        self._current_progress_remaining = max(0.0, 1.0 - num_timesteps / self.total_steps)


class SB3Learner(WithFrames):
    """A learner around an algorithm of Stable-Baselines3; a subclass says which one.

    Args:
        config: hyper-parameters.
        head: how its outputs become actions.
        setup: how it is going to be trained.

    Raises:
        InputError: for a device that is not here, or an action mode that the algorithm cannot take.
    """

    name: ClassVar[str]
    """The agent's name."""
    Config: ClassVar[type[Any]]

    def __init__(self, config: Any, head: Head, setup: Setup) -> None:
        self.config, self.head, self.action_mode, self.names = config, head, head.action_mode, head.names
        with _own_generators():
            self.model = self.algorithm(setup, str(torch_device(setup.device)))
            self.model.total_steps = setup.total_steps
            stacked = StackedObservations(1, self.frames, head.observation_space).stacked_observation_space
            self.model.observation_space, self.model.action_space = stacked, head.space
            self.model.n_envs = setup.num_envs
            self.model.set_random_seed(setup.seed % 2**32)
            self.model._setup_model()
        self.remember()
        self._due = 0  # whole rollouts overshoot an interval; the next one is shorter by as much

    def algorithm(self, setup: Setup, device: str) -> Any:
        """The algorithm, made with ``env=None`` and ``_init_setup_model=False``; has the mixin ``WholeRun``."""
        raise NotImplementedError

    def counters(self) -> tuple[str, ...]:
        """Attributes of the algorithm that count; whole numbers."""
        return ("num_timesteps", "_n_updates")

    @classmethod
    def build(cls, config: Any, head: Head, setup: Setup) -> Self:
        """A fresh agent for an environment."""
        return cls(config, head, setup)

    @property
    def steps(self) -> int:
        """Environment steps it has learned from."""
        return int(self.model.num_timesteps)

    @property
    def updates(self) -> int:
        """Gradient updates so far."""
        return int(self.model._n_updates)

    def greedy(self, seen: np.ndarray) -> np.ndarray:
        """Actions without exploration. Shape: (n, D) -> (n,) or (n, 1)."""
        return self.model.predict(np.ascontiguousarray(seen), deterministic=True)[0]

    def learn(self, env: VectorEnv, steps: int, seed: int, report: Report) -> None:
        """Learn from ``steps`` transitions, or the whole number of rollouts just above.

        All randomness, also that of the algorithm, is a function of ``seed``, so that a run that goes on from a
        checkpoint between two calls is the same as one that was never interrupted.

        Args:
            env: native vector environment that resets in the same step.
            steps: transitions to collect.
            seed: of the environment's paths, exploration and batches.
            report: called with the transitions just collected and what there is to log.

        Raises:
            InputError: when learning diverged.
        """
        model, adapted = self.model, SB3VecEnv(env) if self.frames == 1 else VecFrameStack(SB3VecEnv(env), self.frames)
        self._due += steps
        if self._due <= model.num_timesteps:
            return
        model.set_logger(Logger(None, [_Values(report)]))
        model.set_env(adapted)
        model.ep_info_buffer = None
        with _own_generators():
            model.set_random_seed(seed % 2**32)
            adapted.seed(seed)
            try:
                model.learn(
                    self._due - model.num_timesteps,
                    _Steps(report),
                    log_interval=self.log_interval,
                    reset_num_timesteps=False,
                )
            except ValueError as error:
                if "to satisfy the constraint" not in str(error):
                    raise
                # What torch's distributions say of numbers that are not finite goes over many lines.
                raise InputError(
                    f"{self.name}: learning diverged after {self.steps} steps; try a smaller learning rate"
                ) from None

    log_interval: ClassVar[int] = 1
    """Rollouts, or episodes if off-policy, between two reports."""

    def save(self, folder: Path) -> None:
        """Write all that acting needs; see ``exec_env.harness.training.weights``."""
        save_weights(folder, self.name, self.head, self.config, self.model.policy.state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; nothing in it is run.

        Raises:
            InputError: naming the file and what is wrong with it.
        """
        config, head, weights = load_weights(folder, cls.Config)
        agent = cls(config, head, Setup(total_steps=1, interval=1, num_envs=1, seed=0, device="cpu"))
        with weights_must_fit(folder):
            agent.model.policy.load_state_dict(weights)
        return agent

    def state_dict(self) -> dict[str, Any]:
        """Everything that going on needs: networks, optimiser and counters."""
        return {
            "policy": self.model.policy.state_dict(),
            "optimiser": self.model.policy.optimizer.state_dict(),
            "counters": {name: int(getattr(self.model, name)) for name in self.counters()},
            "due": self._due,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            KeyError, RuntimeError, ValueError: when it is of another agent.
        """
        self.model.policy.load_state_dict(state["policy"])
        self.model.policy.optimizer.load_state_dict(state["optimiser"])
        for name in self.counters():
            setattr(self.model, name, int(state["counters"][name]))
        self.model._update_current_progress_remaining(self.model.num_timesteps, 0)
        self._due = int(state["due"])

    def export(self, path: str | Path) -> Path:
        """Write the model in Stable-Baselines3's own format, to be read with its ``load``.

        With several frames it acts on them side by side, as ``VecFrameStack`` of the library gives them. That format
        carries pickles: only load such files from people you trust. With a continuous action one of them
        names ``exec_env.agents.ppo``, which must then be installed; with a discrete one Stable-Baselines3 is enough.

        Args:
            path: file to create; ``.zip`` is added where it has no ending, as Stable-Baselines3 does.

        Returns:
            The file.

        Raises:
            InputError: when the file exists, or its folder does not.
        """
        path = Path(path)
        if path.is_dir():
            raise InputError(f"{path}: is a folder; name a file")
        path = path if path.suffix else path.with_name(path.name + ".zip")
        if path.exists():
            raise InputError(f"{path} exists: choose another file, so that nothing is overwritten")
        if not path.parent.is_dir():
            raise InputError(f"{path.parent}: no such folder")
        model: BaseAlgorithm = self.model
        schedule, model.learning_rate = model.learning_rate, self.config.learning_rate
        try:
            model.save(path, exclude=["lr_schedule", "ep_info_buffer", "total_steps", "config"])
        finally:
            model.learning_rate = schedule
        return path


@contextmanager
def _own_generators() -> Iterator[None]:
    """Stable-Baselines3 draws from the global generators; give them back as they were."""
    kept = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002


class _Steps(BaseCallback):
    """Tells how many transitions were collected."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def _on_step(self) -> bool:
        self._report(self.training_env.num_envs, {})
        return True


class _Values(KVWriter):
    """Passes on what Stable-Baselines3 logs of training and rollouts."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        parts = {key: key.partition("/") for key in key_values}
        wanted = {p[2]: float(key_values[k]) for k, p in parts.items() if p[0] in ("train", "rollout")}
        self._report(0, wanted)

    def close(self) -> None:
        """Nothing is open."""
