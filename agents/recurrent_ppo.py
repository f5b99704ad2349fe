"""PPO with a memory, a long short-term memory (Hochreiter & Schmidhuber 1997), on RecurrentPPO of sb3-contrib."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from sb3_contrib import RecurrentPPO as ContribPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from torch import nn

from exec_env.agents.ppo import PPO, LogNormalPolicy, SharedPPOConfig
from exec_env.agents.sb3 import WholeRun
from exec_env.base.errors import InputError
from exec_env.base.validation import Count
from exec_env.envs.sb3 import Memory, empty_memory
from exec_env.harness.agents import Setup
from exec_env.harness.training.weights import Head


@dataclass(frozen=True)
class RecurrentPPOConfig(SharedPPOConfig):
    """Hyper-parameters of PPO with a memory."""

    memory: Count = 64
    """Width of the memory that is carried from slice to slice; the value's network has another one as wide."""


class RecurrentLogNormalPolicy(LogNormalPolicy, RecurrentActorCriticPolicy):
    """``LogNormalPolicy`` with a memory: actor and critic see the observation and what is remembered, side by side."""

    @property
    def n_inputs(self) -> int:
        """See ``LogNormalPolicy``."""
        return self.features_dim + self.lstm_output_dim

    def evaluate_actions(  # type: ignore[override]  # sb3-contrib does not keep to it either
        self, obs: Any, actions: torch.Tensor, lstm_states: Any, episode_starts: Any
    ) -> Any:
        """As of sb3-contrib, which fills short episodes up with zeros: they count for nothing, but have no logarithm.

        A gradient of nothing times infinity would not be a number.
        """
        return super().evaluate_actions(obs, actions.where(actions > 0, 1.0), lstm_states, episode_starts)

    @staticmethod
    def _process_sequence(
        features: torch.Tensor,
        lstm_states: tuple[torch.Tensor, torch.Tensor],
        episode_starts: torch.Tensor,
        lstm: nn.LSTM,
    ) -> tuple[torch.Tensor, Any]:
        remembered, after = RecurrentActorCriticPolicy._process_sequence(features, lstm_states, episode_starts, lstm)
        return torch.cat([features, remembered], 1), after


class _RecurrentPPO(WholeRun, ContribPPO):
    """RecurrentPPO of sb3-contrib, trained in intervals."""


class RecurrentPPO(PPO):
    """PPO with a memory, for any action mode. See ``SB3Learner`` for arguments."""

    name, Config = "recurrent-ppo", RecurrentPPOConfig
    algorithm_class = _RecurrentPPO
    policies = ("MlpLstmPolicy", RecurrentLogNormalPolicy)

    @classmethod
    def build(cls, config: SharedPPOConfig, head: Head, setup: Setup) -> Self:
        """See ``SB3Learner``.

        Raises:
            InputError: as ``PPO.build``, and where a gradient step would have one transition alone.
        """
        collected = config.rollout * setup.num_envs
        if collected % config.batch_size == 1:  # advantages are normalised; sb3-contrib divides by a missing deviation
            raise InputError(
                f"{cls.Config.__name__}.batch_size = {config.batch_size}: leaves one of the {collected} transitions of "
                "a rollout for a gradient step of its own, which needs two; take another"
            )
        return super().build(config, head, setup)

    def architecture(self) -> dict[str, Any]:
        """See ``PPO``."""
        return super().architecture() | {"lstm_hidden_size": self.config.memory}

    def initial_state(self, n: int) -> Memory:
        """The memory of ``n`` paths at arrival: nothing."""
        return empty_memory(self.model, n)

    def act(self, observations: np.ndarray, state: Any = None) -> Any:
        """Actions without exploration, and the next memory. Shape: (n, D) -> (n,) or (n, 1)."""
        return self.model.predict(np.ascontiguousarray(observations), state=state, deterministic=True)
