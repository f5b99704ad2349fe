"""Proximal policy optimisation (Schulman et al. 2017) on Stable-Baselines3."""

from dataclasses import dataclass
from typing import Annotated, Any

import gymnasium as gym
import torch
from stable_baselines3 import PPO as StablePPO
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import nn

from exec_env.agents.replay import half_cosine
from exec_env.agents.sb3 import SB3Learner, WholeRun
from exec_env.base.errors import InputError
from exec_env.base.validation import Bounds, Count, Finite, NonNegative, Positive, Probability, check_fields
from exec_env.harness.agents import Setup
from exec_env.harness.training.weights import Head
from exec_env.one_asset.observation import Observation

_TIME_LEFT = Observation._fields.index("time_left")


@dataclass(frozen=True)
class PPOConfig:
    """Hyper-parameters of PPO."""

    hidden: tuple[Count, ...] = (64, 64)
    """Width of each hidden layer, of the policy's network and of the value's."""
    gamma: Probability = 1.0
    """Discount; an execution is short and ends, so none is needed."""
    gae_lambda: Probability = 0.95
    """How far advantages look ahead before they trust the value network (Schulman et al. 2016)."""
    learning_rate: Positive = 1.5e-3
    """Adam's step size at the start; it falls to zero along a half cosine."""
    rollout: Count = 40
    """Slices collected from each environment between two updates; the length of an episode."""
    batch_size: Annotated[int, Bounds(low=2)] = 2048
    """Transitions in a gradient step; at least two, because their advantages are normalised."""
    epochs: Count = 4
    """Passes over what was collected."""
    clip_range: Positive = 0.2
    """Ratio of new to old probability beyond which there is no more gradient."""
    entropy: NonNegative = 0.0
    """Weight of the entropy bonus."""
    value_weight: NonNegative = 0.5
    """Weight of the value network's loss."""
    max_gradient_norm: Positive = 0.5
    """Gradients are scaled down to this norm."""
    log_std: Finite = -1.0
    """Log standard deviation at the start, of the logarithm of a continuous action."""

    def __post_init__(self) -> None:
        check_fields(self)


class LogNormal(DiagGaussianDistribution):
    """Positive actions whose logarithm is normal.

    Densities are those of the logarithm: the factor between the two does not depend on the policy, so it cancels in
    PPO's ratios.
    """

    def log_prob(self, actions: torch.Tensor) -> torch.Tensor:
        """Log density of the actions' logarithm. Shape: [B, 1] -> [B]."""
        return super().log_prob(actions.log())

    def sample(self) -> torch.Tensor:
        """Random actions. Shape: [B, 1]."""
        return super().sample().exp()

    def mode(self) -> torch.Tensor:
        """The median. Shape: [B, 1]."""
        return super().mode().exp()


class _WithTime(MlpExtractor):
    """The actor's last layer with −log(time left) beside it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.latent_dim_pi += 1

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        time_left = features[:, _TIME_LEFT : _TIME_LEFT + 1].clamp(min=1e-6)
        return torch.cat([super().forward_actor(features), -time_left.log()], dim=1)


class LogNormalPolicy(ActorCriticPolicy):
    """Actor and critic for a continuous action on [0, high]: the actor's action is log-normal.

    Even selling takes 1/40 of what is left at the start and all of it at the end. Noise of one size for all actions
    would be far too much for the first and too little for the last; noise in the logarithm is a multiple of the pace.

    Args:
        initial: action that the untrained actor is around (at the start, if ``paced``).
        paced: whether actions grow as 1 / time left to begin with, as an even sale's fraction of what is left does.
        *args: those of ``ActorCriticPolicy``.
        **kwargs: those of ``ActorCriticPolicy``.
    """

    def __init__(self, *args: Any, initial: float, paced: bool, **kwargs: Any) -> None:
        self.initial, self.paced = initial, paced
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        extractor = _WithTime if self.paced else MlpExtractor
        self.mlp_extractor = extractor(self.features_dim, self.net_arch, self.activation_fn, self.device)

    def _build(self, lr_schedule: Any) -> None:
        self.action_dist = LogNormal(int(self.action_space.shape[0]))  # type: ignore[index]
        super()._build(lr_schedule)
        head = self.action_net
        assert isinstance(head, nn.Linear)
        with torch.no_grad():
            head.bias.fill_(torch.tensor(self.initial).log())
            if self.paced:
                head.weight[:, -1] = 1.0

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"initial": self.initial, "paced": self.paced}


class _PPO(WholeRun, StablePPO):
    """Stable-Baselines3's PPO, trained in intervals."""


class PPO(SB3Learner):
    """PPO for any action mode. See ``SB3Learner`` for arguments."""

    name, Config = "ppo", PPOConfig

    @classmethod
    def build(cls, config: PPOConfig, head: Head, setup: Setup) -> "PPO":
        """See ``SB3Learner``.

        Raises:
            InputError: when an interval is shorter than what is collected between two updates.
        """
        collected = config.rollout * setup.num_envs
        if collected > setup.interval:
            raise InputError(
                f"PPOConfig.rollout = {config.rollout}: in {setup.num_envs} environments that is {collected} steps, "
                f"more than the {setup.interval} of an interval; take fewer intervals, fewer environments or more steps"
            )
        return super().build(config, head, setup)

    def algorithm(self, setup: Setup, device: str) -> _PPO:
        """See ``SB3Learner``."""
        c, head = self.config, self.head
        policy: Any = "MlpPolicy"
        kwargs: dict[str, Any] = {"net_arch": list(c.hidden)}
        if isinstance(head.space, gym.spaces.Box) and head.space.low.min() >= 0.0:
            policy, paced = LogNormalPolicy, head.mode_name == "fraction" and head.names[_TIME_LEFT] == "time_left"
            # Whole order or remainder: an even sale. Participation: a third of the cap.
            even = head.high / (3 if head.mode_name == "participation" else head.n_steps)
            kwargs |= {"log_std_init": c.log_std, "initial": even, "paced": paced}
        return _PPO(
            policy,
            None,  # type: ignore[arg-type]
            learning_rate=half_cosine(c.learning_rate),
            n_steps=c.rollout,
            batch_size=c.batch_size,
            n_epochs=c.epochs,
            gamma=c.gamma,
            gae_lambda=c.gae_lambda,
            clip_range=c.clip_range,
            ent_coef=c.entropy,
            vf_coef=c.value_weight,
            max_grad_norm=c.max_gradient_norm,
            policy_kwargs=kwargs,
            device=device,
            _init_setup_model=False,
        )
