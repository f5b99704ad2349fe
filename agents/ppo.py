"""Proximal policy optimisation (Schulman et al. 2017) on Stable-Baselines3."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

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

_TIME_LEFT = "time_left"


@dataclass(frozen=True)
class SharedPPOConfig:
    """Hyper-parameters of PPO with and without a memory."""

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


@dataclass(frozen=True)
class PPOConfig(SharedPPOConfig):
    """Hyper-parameters of PPO."""

    frames: Count = 1
    """Observations that are seen at once: that of the slice and, with more than one, the last ones before it."""


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

    def __init__(self, *args: Any, time_left: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.time_left = time_left
        self.latent_dim_pi += 1

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        time_left = features[:, self.time_left : self.time_left + 1].clamp(min=1e-6)
        return torch.cat([super().forward_actor(features), -time_left.log()], dim=1)


class LogNormalPolicy(ActorCriticPolicy):
    """Actor and critic for a continuous action on [0, high]: the actor's action is log-normal.

    Even selling takes 1/40 of what is left at the start and all of it at the end. Noise of one size for all actions
    would be far too much for the first and too little for the last; noise in the logarithm is a multiple of the pace.

    Args:
        initial: action that the untrained actor is around (at the start, if ``paced``).
        paced: whether actions grow as 1 / time left to begin with, as an even sale's fraction of what is left does.
        time_left: which entry says how much time is left, if ``paced``.
        *args: those of ``ActorCriticPolicy``.
        **kwargs: those of ``ActorCriticPolicy``.
    """

    def __init__(self, *args: Any, initial: float, paced: bool, time_left: int = 0, **kwargs: Any) -> None:
        self.initial, self.paced, self.time_left = initial, paced, time_left
        super().__init__(*args, **kwargs)

    @property
    def n_inputs(self) -> int:
        """Numbers that the layers of actor and critic take, the observation's first."""
        return self.features_dim

    def _build_mlp_extractor(self) -> None:
        layers = (self.n_inputs, self.net_arch, self.activation_fn, self.device)
        self.mlp_extractor = _WithTime(*layers, time_left=self.time_left) if self.paced else MlpExtractor(*layers)

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
        own = {"initial": self.initial, "paced": self.paced, "time_left": self.time_left}
        return super()._get_constructor_parameters() | own


class _PPO(WholeRun, StablePPO):
    """Stable-Baselines3's PPO, trained in intervals."""


class PPO(SB3Learner):
    """PPO for any action mode. See ``SB3Learner`` for arguments."""

    name = "ppo"
    Config: ClassVar[type[Any]] = PPOConfig
    algorithm_class: ClassVar[type[Any]] = _PPO
    policies: ClassVar[tuple[str, type[LogNormalPolicy]]] = ("MlpPolicy", LogNormalPolicy)
    """The library's, and that for a continuous action on [0, high]."""

    @classmethod
    def build(cls, config: SharedPPOConfig, head: Head, setup: Setup) -> Self:
        """See ``SB3Learner``.

        Raises:
            InputError: when an interval is shorter than what is collected between two updates.
        """
        collected = config.rollout * setup.num_envs
        if collected > setup.interval:
            raise InputError(
                f"{cls.Config.__name__}.rollout = {config.rollout}: in {setup.num_envs} environments that is "
                f"{collected} steps, more than the {setup.interval} of an interval; take fewer intervals, fewer "
                "environments or more steps"
            )
        return super().build(config, head, setup)

    def architecture(self) -> dict[str, Any]:
        """Of the policy, as the library calls it."""
        return {"net_arch": list(self.config.hidden)}

    def algorithm(self, setup: Setup, device: str) -> Any:
        """See ``SB3Learner``."""
        c, head, kwargs = self.config, self.head, self.architecture()
        policy: Any = self.policies[0]
        if isinstance(head.space, gym.spaces.Box) and head.space.low.min() >= 0.0:
            policy, paced = self.policies[1], head.mode_name == "fraction" and _TIME_LEFT in head.names
            # Whole order or remainder: an even sale. Participation: a third of the cap.
            even = head.high / (3 if head.mode_name == "participation" else head.n_steps)
            kwargs |= {"log_std_init": c.log_std, "initial": even, "paced": paced}
            if paced:
                kwargs["time_left"] = (self.frames - 1) * len(head.names) + head.names.index(_TIME_LEFT)
        return self.algorithm_class(
            policy,
            None,
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
