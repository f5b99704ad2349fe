"""What offline learners share: their hyper-parameters and the learner's protocol; see ``offline_networks`` too."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import nn

from exec_env.agents.offline_networks import INVENTORY, Batch, Paces, Standardise
from exec_env.agents.replay import half_cosine
from exec_env.base.errors import InputError
from exec_env.base.validation import Count, Positive, Probability, check_fields
from exec_env.harness.agents import Setup
from exec_env.harness.offline.collect import FRACTION, Transitions, conditions
from exec_env.harness.offline.dataset import Dataset, load
from exec_env.harness.training.weights import Head, load_weights, save_weights, weights_must_fit
from exec_env.market.order import Order
from exec_env.one_asset.observation import Observation
from exec_env.one_asset.torch_market import torch_device


@dataclass(frozen=True)
class OfflineConfig:
    """Hyper-parameters of every offline learner."""

    dataset: str = ""
    """Folder of the dataset to learn from, which exec-env collect records. There is no default."""
    select: Literal["last", "simulator"] = "last"
    """Which of the checks the run keeps as its best: the last one, which is all that someone without a simulator can
    take; or the one with the lowest cost on the simulator, as online learners do. The run keeps its last one too."""
    hidden: tuple[Count, ...] = (128, 128)
    """Width of each hidden layer, of every network."""
    learning_rate: Positive = 1e-3
    """Adam's step size at the start; it falls to zero along a half cosine, so that the last check is no worse a
    choice than it has to be."""
    batch_size: Count = 256
    """Transitions in an update."""
    reach: Positive = 3.0
    """Half width of the range of actions, in standard deviations of the dataset's paces (multiples of selling evenly
    what is left) around their mean. What is farther out in the dataset counts as the end of the range."""
    narrowest: Positive = 0.1
    """Half width of that range at least, in paces, where the dataset's hardly differ."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class ValueConfig(OfflineConfig):
    """Hyper-parameters of learners that value actions."""

    gamma: Probability = 1.0
    """Discount; an execution is short and ends, so none is needed."""
    baseline: bool = True
    """Value actions relative to Φ = the dataset's mean return × the inventory that is left: rewards become
    r + γ Φ(s') − Φ(s) (Ng, Harada & Russell 1999). It changes no optimal policy, but nine tenths of a value are what
    any policy has to pay, in which the little that an action changes is lost."""
    target_rate: Probability = 0.005
    """Share of what is learned that enters the targets at each of their updates."""


class OfflineLearner:
    """A learner whose experience is a dataset: an environment is only what it is meant for. Subclasses say how.

    Training's "environment steps" are gradient updates for it. It acts in fractions of what is left, as the dataset
    does, whatever the environment's action mode is. Networks see observations standardised and actions as paces mapped
    onto [-1, 1] (``Standardise``, ``Paces``); rewards are in bps. Nothing is discounted, because an episode is short
    and ends, and the observation tells the time that is left.

    Args:
        config: hyper-parameters.
        head: how its outputs become actions; only the number of slices counts.
        setup: how it is going to be trained.
        data: what it learns from; without it, it only acts.
    """

    name: ClassVar[str]
    """The agent's name."""
    Config: ClassVar[type[Any]]
    action_mode = FRACTION

    def __init__(self, config: Any, head: Head, setup: Setup, data: Transitions | None = None) -> None:
        self.config, self.head, self.setup = config, Head(FRACTION, FRACTION.space(Order()), head.n_steps), setup
        self.device = torch_device(setup.device)
        self.dataset: Dataset | None = None
        self.clipped_percent = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setup.seed % 2**63)
            self.networks = nn.ModuleDict(self.make(len(Observation._fields)))
        self.standardise, self.paces = Standardise(len(Observation._fields)), Paces(head.n_steps)
        self.networks.update({"standardise": self.standardise, "paces": self.paces})
        self.networks.to(self.device)
        if data is not None:
            self._data = self._tensors(data)
            self.prepare(self._data)
        self.targets = copy.deepcopy(self.networks).requires_grad_(False)
        self.optimisers = {
            name: torch.optim.Adam(part.parameters(), lr=config.learning_rate, fused=True)
            for name, part in self.networks.items()
            if any(True for _ in part.parameters())
        }
        self.steps = 0

    def make(self, n_observations: int) -> dict[str, nn.Module]:
        """Networks by name; each has an optimiser of its own, and a slowly moving copy among the targets."""
        raise NotImplementedError

    def prepare(self, data: Batch) -> None:
        """Take from the whole dataset what networks need of it."""

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """One update of all networks; gives losses by name. Shape of each: []."""
        raise NotImplementedError

    def policy(self, observations: torch.Tensor) -> torch.Tensor:
        """Actions for standardised observations. Shape: [B, D] -> [B, 1], in [-1, 1]."""
        raise NotImplementedError

    @classmethod
    def build(cls, config: Any, head: Head, setup: Setup) -> Self:
        """A fresh agent, with its dataset.

        Raises:
            InputError: without a dataset, with one that is corrupt, or of an order with other slices.
        """
        if not config.dataset:
            raise InputError(
                f"{cls.Config.__name__}.dataset = '': {cls.name} learns from a dataset; record one with "
                "exec-env collect and name its folder with --dataset"
            )
        dataset = load(config.dataset)
        if dataset.order.n_steps != head.n_steps:
            raise InputError(
                f"dataset {config.dataset}: Order.n_steps = {dataset.order.n_steps}, but here {head.n_steps}"
            )
        agent = cls(config, head, setup, dataset.episodes.transitions)
        agent.dataset = dataset
        return agent

    def check_env(self, env: Any) -> None:
        """Refuse an environment that the dataset is not from.

        Args:
            env: native environment.

        Raises:
            InputError: naming what differs first: a field of Market or Order, the reward, what the market is drawn
                from, the tape, or the action mode.
        """
        if self.dataset is None:
            return
        where = f"dataset {self.config.dataset}"
        for ours, theirs in ((self.dataset.market, env.market), (self.dataset.order, env.order)):
            for field, value in vars(ours).items():
                if value != getattr(theirs, field):
                    what = f"{type(ours).__name__}.{field}"
                    raise InputError(
                        f"{where}: {what} = {value!r}, but the environment's is {getattr(theirs, field)!r}"
                    )
        if self.dataset.reward != env.reward:
            raise InputError(f"{where}: rewards are {self.dataset.reward}, but the environment's are {env.reward}")
        here = conditions(env.problem, env.reward)
        for name, what in (("randomise", "what the market of each path is drawn from"), ("tape", "the tape")):
            ours, theirs = self.dataset.provenance[name], here[name]
            # The same slices are the same tape, whatever the file's name.
            if (ours and ours | {"name": ""}) != (theirs and theirs | {"name": ""}):
                raise InputError(f"{where}: {what} is {ours or 'none'}, but the environment's is {theirs or 'none'}")
        if not env.mode.is_discrete and env.mode != FRACTION:
            raise InputError(f"{where}: action 'fraction', but the environment's is {env.mode.name!r}")

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the dataset, for the run's configuration."""
        return {} if self.dataset is None else {"dataset": self.dataset.provenance}

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Fractions of what is left. Shape: (n, D) -> (n, 1)."""
        seen = torch.as_tensor(np.ascontiguousarray(observations), device=self.device)
        with torch.no_grad():
            actions = self.policy(self.standardise(seen))
            return self.paces.decode(actions, seen).cpu().numpy()

    def score(self, objective: np.ndarray, shortfall: np.ndarray) -> float:
        """How checks rank: the later the better, unless the simulator is to select."""
        return float(objective.mean()) if self.config.select == "simulator" else -float(self.steps)

    def learn(self, env: VectorEnv, steps: int, seed: int, report: Callable[[int, dict[str, float]], None]) -> None:
        """Make ``steps`` gradient updates on batches that are a function of ``seed``.

        Args:
            env: not played.
            steps: gradient updates.
            seed: of batches and whatever else is drawn.
            report: called with the updates just made and what there is to log: means of what ``update`` gives, and
                ``clipped_percent``, the share of the dataset's actions beyond ``reach``. [%]
        """
        generator = torch.Generator().manual_seed(seed)
        logged: list[dict[str, torch.Tensor]] = []
        for _ in range(steps):
            for optimiser in self.optimisers.values():
                for group in optimiser.param_groups:
                    group["lr"] = half_cosine(self.config.learning_rate)(
                        1 - min(self.steps / self.setup.total_steps, 1)
                    )
            logged.append(self.update(self.sample(generator), generator))
            self.steps += 1
            if len(logged) >= 200:
                report(len(logged), _means(logged))
                logged.clear()
        report(len(logged), _means(logged) | {"clipped_percent": self.clipped_percent})

    def sample(self, generator: torch.Generator) -> Batch:
        """A batch, drawn uniformly with replacement."""
        rows = torch.randint(len(self._data.rewards), (self.config.batch_size,), generator=generator).to(self.device)
        return Batch(*(column[rows] for column in self._data))

    def feasible(self, actions: torch.Tensor, observations: torch.Tensor) -> torch.Tensor:
        """Actions, but none that asks for more than is left: the dataset has none, so their values are guesswork.

        Shape: [B, 1], [B, D] -> [B, 1].
        """
        return actions.minimum(self.paces.encode(torch.ones_like(actions), self.standardise.undo(observations)))

    def step(self, name: str, loss: torch.Tensor) -> torch.Tensor:
        """One step of a network's optimiser; gives the loss without its graph."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()

    def follow(self, rate: float, *names: str) -> None:
        """Move the targets of these networks a part of the way to what is learned."""
        with torch.no_grad():
            for name in names:
                torch._foreach_lerp_(
                    list(self.targets[name].parameters()), list(self.networks[name].parameters()), rate
                )

    def save(self, folder: Path) -> None:
        """Write all that acting needs; see ``exec_env.harness.training.weights``."""
        save_weights(folder, self.name, self.head, self.config, self.networks.state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; nothing in it is run, and the dataset is not needed.

        Raises:
            InputError: naming the file and what is wrong with it.
        """
        config, head, weights = load_weights(folder, cls.Config)
        agent = cls(config, head, Setup(total_steps=1, interval=1, num_envs=1, seed=0, device="cpu"))
        with weights_must_fit(folder):
            agent.networks.load_state_dict(weights)
        return agent

    def state_dict(self) -> dict[str, Any]:
        """Everything that going on needs: networks, targets, optimisers, counter; and which dataset it was."""
        return {
            "networks": self.networks.state_dict(),
            "targets": self.targets.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "steps": self.steps,
            "dataset": self.provenance.get("dataset", {}).get("sha256", ""),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            KeyError, RuntimeError, ValueError: when it is of another agent, or of another dataset.
        """
        if state["dataset"] != self.provenance.get("dataset", {}).get("sha256", ""):
            raise InputError(f"{self.config.dataset} is not the dataset that it learned from")
        self.networks.load_state_dict(state["networks"])
        self.targets.load_state_dict(state["targets"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self.steps = int(state["steps"])

    def _tensors(self, data: Transitions) -> Batch:
        """The whole dataset as one batch."""
        seen, actions, rewards, following, terminated = (
            torch.as_tensor(column, dtype=torch.float32, device=self.device) for column in data
        )
        c, standardise = self.config, self.standardise
        standardise.fit(seen)
        self.paces.fit(actions, seen, c.reach, c.narrowest)
        self.clipped_percent = self.paces.clipped(actions, seen)
        if isinstance(c, ValueConfig) and c.baseline:
            per_share = rewards.sum() / terminated.sum()
            potential, after = per_share * seen[:, INVENTORY], per_share * following[:, INVENTORY]
            rewards = rewards + c.gamma * (1 - terminated) * after - potential
        return Batch(standardise(seen), self.paces.encode(actions, seen), rewards, standardise(following), terminated)


def _means(logged: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Means of what was logged, each over the updates that have it."""
    names = {name for row in logged for name in row}
    return {name: float(torch.stack([row[name] for row in logged if name in row]).mean()) for name in sorted(names)}
