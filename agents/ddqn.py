"""Double DQN (van Hasselt et al. 2016) on Stable-Baselines3, whose own DQN takes the plain maximum.

Configuration, loss and targets are those of ``exec_env.agents.dqn``; collecting, replay and target network are the
library's.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import NStepReplayBuffer
from torch import nn

from exec_env.agents.dqn import DQNConfig, dqn_loss
from exec_env.agents.replay import Batch, half_cosine
from exec_env.agents.sb3 import Report, SB3Learner, WholeRun
from exec_env.base.errors import InputError
from exec_env.harness.agents import Setup
from exec_env.harness.training.weights import Head


class DoubleDQN(WholeRun, DQN):
    """Stable-Baselines3's DQN that selects the next action with the online network and values it with the target.

    Args:
        config: hyper-parameters of the loss; ``double=False`` gives the plain maximum again. Discount and number of
            steps are those of ``kwargs``, which also rule the replay buffer.
        **kwargs: those of ``stable_baselines3.DQN``.
    """

    def __init__(self, *args: Any, config: DQNConfig | None = None, **kwargs: Any) -> None:
        self.config = config or DQNConfig()
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        self.config = replace(
            self.config, gamma=self.gamma, multi_step=self.replay_buffer_kwargs.get("n_steps", self.n_steps)
        )

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Gradient steps on batches from the replay buffer."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses = []
        for _ in range(gradient_steps):
            assert self.replay_buffer is not None
            data = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            rewards = self.config.reward_scale * data.rewards[:, 0]
            batch = Batch(data.observations, data.actions[:, 0], rewards, data.next_observations, data.dones[:, 0])
            loss = dqn_loss(batch, self.q_net, self.q_net_target, self.config)
            self.policy.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.q_net.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
            losses.append(loss.detach())
        self._n_updates += gradient_steps
        self.logger.record("train/loss", float(torch.stack(losses).mean()))

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Greedy actions, but random ones with probability ε: in each environment apart, not in all or in none."""
        actions, state = super().predict(observation, state, episode_start, deterministic=True)
        if not deterministic:
            at_random = np.random.rand(*actions.shape) < self.exploration_rate  # noqa: NPY002
            actions = np.where(at_random, np.random.randint(self.action_space.n, size=actions.shape), actions)  # type: ignore[attr-defined]  # noqa: NPY002
        return actions, state


class DDQN(SB3Learner):
    """Double DQN for a discrete action mode. See ``SB3Learner`` for arguments."""

    name, Config, log_interval = "ddqn", DQNConfig, 1000

    @classmethod
    def build(cls, config: DQNConfig, head: Head, setup: Setup) -> "DDQN":
        """See ``SB3Learner``.

        Raises:
            InputError: for a continuous action mode, or a training that ends before the first update.
        """
        config.check_warm_up(setup.total_steps)
        return super().build(config, head, setup)

    def algorithm(self, setup: Setup, device: str) -> DoubleDQN:
        """See ``SB3Learner``.

        Raises:
            InputError: for a continuous action mode.
        """
        c: DQNConfig = self.config
        if not self.action_mode.is_discrete:
            raise InputError(
                f"action {self.action_mode.name!r}: DDQN needs a discrete one, 'pace' or 'participation-levels'"
            )
        # Between updates every environment steps as often, so that the rhythm is the nearest one there is.
        every = max(1, round(c.update_every / setup.num_envs))
        updates = max(1, round(setup.num_envs / c.update_every))
        return DoubleDQN(
            "MlpPolicy",
            None,
            config=c,
            learning_rate=half_cosine(c.learning_rate),
            buffer_size=c.replay_size,
            learning_starts=c.warm_up,
            batch_size=c.batch_size,
            # Once a step of all environments, as fast on average as the configuration says, which is once an update.
            tau=1 - (1 - c.target_rate) ** updates,
            target_update_interval=setup.num_envs * every,
            gamma=c.gamma,
            # Not as n_steps, of which the library warns when it reads its own file.
            replay_buffer_class=NStepReplayBuffer,
            replay_buffer_kwargs={"n_steps": c.multi_step, "gamma": c.gamma},
            train_freq=every,
            gradient_steps=updates,
            exploration_fraction=max(c.exploration, 1e-9),
            exploration_initial_eps=c.epsilon_start,
            exploration_final_eps=c.epsilon_end,
            max_grad_norm=c.max_gradient_norm,
            policy_kwargs={"net_arch": list(c.hidden)},
            device=device,
            _init_setup_model=False,
        )

    def learn(self, env: VectorEnv, steps: int, seed: int, report: Report) -> None:
        """See ``SB3Learner``."""
        super().learn(env, steps, seed, report)
        # The next call begins new episodes, so returns of several slices must not reach across.
        buffer = self.model.replay_buffer
        buffer.timeouts[buffer.pos - 1] = ~buffer.dones[buffer.pos - 1].astype(bool)

    def counters(self) -> tuple[str, ...]:
        """See ``SB3Learner``."""
        return (*super().counters(), "_n_calls", "_episode_num")

    def state_dict(self) -> dict[str, Any]:
        """See ``SB3Learner``; with the replay memory."""
        buffer = self.model.replay_buffer
        size = buffer.buffer_size if buffer.full else buffer.pos
        arrays = {name: torch.from_numpy(getattr(buffer, name)[:size].copy()) for name in _ARRAYS}
        return super().state_dict() | {"replay": arrays, "position": buffer.pos, "full": buffer.full}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See ``SB3Learner``."""
        buffer = self.model.replay_buffer
        position, full = int(state["position"]), bool(state["full"])
        size = buffer.buffer_size if full else position
        for name in _ARRAYS:
            values, array = state["replay"][name], getattr(buffer, name)
            if tuple(values.shape) != (size, *array.shape[1:]) or not 0 <= position < buffer.buffer_size:
                raise InputError("the replay memory in the checkpoint has another shape")
            array[:size] = values.numpy()
        buffer.pos, buffer.full = position, full
        super().load_state_dict(state)
        # The first step already explores, and the library sets the share of random actions only after it.
        self.model.exploration_rate = self.model.exploration_schedule(self.model._current_progress_remaining)


_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
