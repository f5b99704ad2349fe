"""Stable-Baselines3: its view of the native vector environment, and its models as agents."""

import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from exec_env.base.errors import InputError
from exec_env.base.extras import importing
from exec_env.envs.features import Sight
from exec_env.envs.vector import ExecutionVectorEnv, native

Memory = tuple[np.ndarray, np.ndarray]
"""Hidden and cell state of a recurrent actor. Shape of each: (n_layers, n, width)."""

with importing("exec_env.envs.sb3"):
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import VecEnv


class SB3VecEnv(VecEnv):
    """The native vector environment as Stable-Baselines3 wants it.

    A step gives what ``DummyVecEnv`` of the same single environments gives, but for two things: the information of a
    sub-environment that goes on is empty, because building hundreds of dictionaries takes longer than the step; that
    of one that ended holds all costs of its last step, the episode's totals, ``terminal_observation`` and the
    statistics of ``Monitor``.

    Args:
        env: a registered id, or the vector environment itself, which must reset in the same step.
        num_envs: how many sub-environments, for an id.
        **options: options of the environment, for an id.

    Raises:
        InputError: for another vector environment, a wrapped one included, or another autoreset mode.

    >>> from stable_baselines3 import A2C
    >>> SB3VecEnv("AlmgrenChriss-v0", num_envs=4).reset().shape
    (4, 10)
    """

    def __init__(self, env: str | gym.vector.VectorEnv, num_envs: int = 64, **options: Any) -> None:
        if isinstance(env, str):
            env = native(env, num_envs, options.pop("autoreset_mode", AutoresetMode.SAME_STEP), **options)
        elif options:
            raise InputError(f"options {', '.join(options)}: go with an id, not with an environment that exists")
        if not isinstance(env, ExecutionVectorEnv):  # a wrapper, too, would be passed over in silence
            raise InputError(f"{env!r}: not the native vector environment of exec_env")
        if env.autoreset_mode != AutoresetMode.SAME_STEP:
            raise InputError(f"autoreset_mode = {env.autoreset_mode.name}: must be SAME_STEP")
        self.native = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._returns, self._lengths = np.zeros(self.num_envs), np.zeros(self.num_envs, np.int64)
        self._began = time.perf_counter()

    def reset(self) -> np.ndarray:
        """Begin the next path everywhere, on new seeds if ``seed`` was called. Shape: (num_envs, entries)."""
        observations, _ = self.native.reset(seed=None if set(self._seeds) == {None} else self._seeds)
        self._reset_seeds()
        self._returns[:], self._lengths[:] = 0.0, 0
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Trade one slice in every sub-environment."""
        observations, rewards, dones, _, vector_infos = self.native.step(self._actions)
        self._returns += rewards
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        which = np.flatnonzero(dones)
        if which.size:
            elapsed = round(time.perf_counter() - self._began, 6)
            final = {k: v[which].tolist() for k, v in vector_infos["final_info"].items() if not k.startswith("_")}
            for i, *values in zip(which.tolist(), *final.values(), strict=True):
                infos[i] = dict(zip(final, values, strict=True))
                infos[i]["terminal_observation"] = vector_infos["final_obs"][i]
                infos[i]["TimeLimit.truncated"] = False  # the horizon is an end, not a limit on time
                infos[i]["episode"] = {"r": float(self._returns[i]), "l": int(self._lengths[i]), "t": elapsed}
            self._returns[which], self._lengths[which] = 0.0, 0
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Close the native environment."""
        self.native.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The native environment's attribute, which all sub-environments share."""
        return [getattr(self.native, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused.

        Raises:
            AttributeError: always; sub-environments are columns of arrays and have no attributes of their own.
        """
        raise AttributeError(f"{attr_name!r} cannot be set: give options when the environment is made")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Refused.

        Raises:
            AttributeError: always; sub-environments are columns of arrays and have no methods of their own.
        """
        raise AttributeError(f"{method_name!r} cannot be called on single sub-environments")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        """Nothing is wrapped, but episode statistics are there as ``Monitor`` gives them."""
        return [wrapper_class is Monitor] * len(list(self._get_indices(indices)))

    def set_options(self, options: Any = None) -> None:
        """Refused, unless empty.

        Raises:
            InputError: for reset options; there are none.
        """
        if options:
            raise InputError(f"reset options {options!r}: there are none")

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Sub-environment i begins with ``seed`` + i at the next reset, as in ``DummyVecEnv``."""
        return super().seed(seed)


class SB3Agent:
    """A model of Stable-Baselines3, or of a library that builds on it, as an agent: it acts without exploring.

    A recurrent model, such as RecurrentPPO of sb3-contrib, is an agent with a memory: it also has ``initial_state(n)``,
    and its ``act(observations, state)`` returns actions and the next state. Its critic's memory is left out.

    Args:
        model: the model, with its environment if that normalises observations.
        action_mode: meaning of its actions; by default that of the environment it was trained in.

    Raises:
        InputError: when neither tells the action mode.
    """

    def __init__(self, model: BaseAlgorithm, action_mode: Any = None) -> None:
        env = model.get_env()
        if action_mode is None:
            if env is None or not env.has_attr("mode"):
                raise InputError("action_mode: the model has no environment of exec_env to take it from; name it")
            action_mode = env.get_attr("mode")[0]
        elif env is not None and env.has_attr("problem"):
            action_mode = env.get_attr("problem")[0].actions(action_mode).mode
        self.model, self.name, self.action_mode = model, type(model).__name__.lower(), action_mode
        if env is not None and env.has_attr("problem"):
            names = Sight(env.get_attr("problem")[0]).names
            if model.observation_space.shape == (len(names),):
                self.names = names
        self._normalise = model.get_vec_normalize_env()
        self._recurrent = hasattr(model.policy, "lstm_actor")
        if self._recurrent:  # this method is what makes an agent one with a memory
            self.initial_state = self._empty

    def act(self, observations: np.ndarray, state: Memory | None = None) -> Any:
        """Actions for a batch of observations; with a memory, actions and the next one.

        Args:
            observations: what is seen. Shape: (n, entries).
            state: memory of a recurrent model; by default an empty one.

        Shape:
            Actions (n,) or (n, 1).
        """
        seen: Any = observations if self._normalise is None else self._normalise.normalize_obs(observations)
        actions, after = self.model.predict(np.ascontiguousarray(seen), state=state, deterministic=True)
        return (actions, after) if self._recurrent else actions

    def _empty(self, n: int) -> Memory:
        return empty_memory(self.model, n)


def empty_memory(model: BaseAlgorithm, n: int) -> Memory:
    """Memory of a recurrent model on ``n`` paths at arrival, the policy's own at the start of an episode."""
    policy: Any = model.policy
    layers, _, width = policy.lstm_hidden_state_shape
    return np.zeros((layers, n, width), np.float32), np.zeros((layers, n, width), np.float32)
