"""A policy trained by gradients straight through the market, on paths drawn fresh for each step.

The market is a differentiable function of the trades, so that the gradient of the cost itself is there and no value
function has to be learned: the counterpart of deep hedging (Buehler et al. 2019) for execution.

One file, to be read from top to bottom: configuration, network, loss, learner, agent.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import nn

from exec_env.agents.replay import half_cosine
from exec_env.base.errors import InputError
from exec_env.base.validation import Bounds, Count, NonNegative, Positive, check_fields
from exec_env.envs.problem import Problem
from exec_env.envs.reward import Reward
from exec_env.harness.agents import Setup
from exec_env.harness.training.weights import Head, load_weights, save_weights, weights_must_fit
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.randomise import shared
from exec_env.one_asset.torch_market import Costs, Policy, TorchMarket, torch_device

_FRACTION = ActionMode("fraction")
_TIME_LEFT = "time_left"


@dataclass(frozen=True)
class PathwiseConfig:
    """Hyper-parameters of the pathwise policy.

    It minimises ``objective``, not a reward, so that shaping of rewards is refused. It trades fractions of what is left
    whatever the action mode is, and draws its own paths: neither --action nor --num-envs makes a difference to it.
    """

    hidden: tuple[Count, ...] = (64, 64)
    """Width of each hidden layer."""
    objective: Literal["expected", "cvar", "mean-variance", "worst"] = "expected"
    """What is minimised: J, the expected cost with its charge for risk; the mean of the costliest realised shortfalls;
    the mean of realised shortfall and its variance; or J in the worst of the markets that ``randomise`` draws."""
    tail: Annotated[float, Bounds(low=0, high=1, open_low=True)] = 0.05
    """Share of the paths that are the costliest, for ``cvar``."""
    variance_weight: NonNegative = 0.01
    """Of the variance, for ``mean-variance``. [1/bps]"""
    worst_share: Annotated[float, Bounds(low=0, high=1, open_low=True)] = 0.1
    """Share of the markets that are the worst, for ``worst``."""
    paths_per_market: Count = 16
    """Of ``paths``, so many are in each drawn market, for ``worst``: J there is estimated by their mean. Where they are
    few, the worst markets are in part the unlucky ones, and what is minimised is too high: with "parameters", where it
    is 43 bps, by 5 with one path, 1.6 with four, 0.3 with sixteen. So take more paths than for the other objectives."""
    learning_rate: Positive = 3e-3
    """Adam's step size at the start; it falls to zero along a half cosine."""
    paths: Annotated[int, Bounds(low=2)] = 512
    """Paths drawn for each gradient step."""
    max_gradient_norm: Positive = 10.0
    """Gradients are scaled down to this norm."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.objective == "worst" and (self.paths % self.paths_per_market or self.paths == self.paths_per_market):
            raise InputError(
                f"{type(self).__name__}.paths = {self.paths}: must be two or more markets with paths_per_market = "
                f"{self.paths_per_market} each"
            )


class Paces(nn.Module):
    """From observations [B, D] to the fraction of what is left that is traded [B]: a pace over the slices left.

    Args:
        n_inputs: entries of an observation, D.
        hidden: width of each hidden layer.
        n_steps: slices of the order.
        time_left: which entry says how much time is left.
    """

    def __init__(self, n_inputs: int, hidden: tuple[int, ...], n_steps: int, time_left: int = 0) -> None:
        super().__init__()
        self.n_steps, self.time_left = n_steps, time_left
        sizes = (n_inputs, *hidden)
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        last = nn.Linear(sizes[-1], 1)
        nn.init.zeros_(last.bias)
        with torch.no_grad():
            last.weight *= 0.1  # so that it begins near pace one, which is TWAP
        self.log_pace = nn.Sequential(*layers, last)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Fractions, which may be above one: the market clips them. Shape: [B, D] -> [B]."""
        slices_left = (observations[:, self.time_left] * self.n_steps).clamp(min=1.0)
        return self.log_pace(observations)[:, 0].exp() / slices_left

    def begin(self, n: int) -> Policy:
        """What is done from slice to slice on ``n`` paths in lockstep."""
        return self


def pathwise_loss(costs: Costs, config: PathwiseConfig) -> torch.Tensor:
    """What is minimised, from the costs of a batch of paths [B]. Shape: []. [bps]

    Source of the tail's mean: Rockafellar & Uryasev (2000), with the batch's own quantile.
    """
    if config.objective == "expected":
        return costs.objective.mean()
    if config.objective == "worst":
        whole = len(costs.objective) // config.paths_per_market
        markets = costs.objective[: whole * config.paths_per_market].view(whole, -1).mean(1)
        return _dearest(markets, config.worst_share) if whole > 1 else torch.tensor(torch.nan)
    shortfall = costs.shortfall
    if config.objective == "cvar":
        return _dearest(shortfall, config.tail)
    variance = shortfall.var() if len(shortfall) > 1 else torch.nan
    return shortfall.mean() + config.variance_weight * variance


def _dearest(costs: torch.Tensor, share: float) -> torch.Tensor:
    """Mean of the share of costs that are the highest, of one at least. Shape: [B] -> []."""
    return costs.topk(max(1, round(share * len(costs)))).values.mean()


class PathwiseLearner:
    """A policy that learns through the market; a subclass says which network it is, and how it acts.

    It acts as a fraction of what is left, whatever the environment's action mode is.

    Args:
        config: hyper-parameters.
        head: what it sees, and how its outputs become actions, of which only the number of slices counts.
        total_steps: environment steps that the schedule of the learning rate spans.
        seed: of weights.
        device: torch device of network and market.

    Raises:
        InputError: where the observation does not say how much time is left.
    """

    name: ClassVar[str]
    """The agent's name."""
    Config: ClassVar[type[Any]]
    action_mode = _FRACTION

    def __init__(self, config: Any, head: Head, total_steps: int = 1, seed: int = 0, device: str = "cpu") -> None:
        self.config, self.names = config, head.names
        self.head = Head(_FRACTION, _FRACTION.space(Order()), head.n_steps, head.names)
        self.total_steps, self.device = total_steps, torch_device(device)
        if _TIME_LEFT not in head.names:
            raise InputError(f"{self.name}: needs {_TIME_LEFT!r} in the observation, not {', '.join(head.names)}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.policy = self.network(head.names.index(_TIME_LEFT)).to(self.device)
        self.optimiser = torch.optim.Adam(self.policy.parameters(), lr=config.learning_rate, fused=True)
        self.steps = self._due = 0

    def network(self, time_left: int) -> Paces:
        """A fresh network, for observations in which that entry says how much time is left."""
        raise NotImplementedError

    @classmethod
    def build(cls, config: Any, head: Head, setup: Setup) -> Self:
        """A fresh agent for an environment.

        Raises:
            InputError: when an interval is shorter than a batch.
        """
        batch = config.paths * head.n_steps
        if batch > setup.interval:
            # Intervals are rounded up to whole steps of all environments.
            least = setup.total_steps // setup.interval * ((batch - 1) // setup.num_envs * setup.num_envs) + 1
            raise InputError(
                f"{cls.Config.__name__}.paths = {config.paths}: of {head.n_steps} slices each that is {batch} steps, "
                f"more than the {setup.interval} of an interval; take fewer intervals, fewer paths or {least} steps or "
                "more"
            )
        return cls(config, head, setup.total_steps, setup.seed, setup.device)

    def tensor(self, values: np.ndarray) -> torch.Tensor:
        """An array on the network's device."""
        return torch.as_tensor(np.ascontiguousarray(values), device=self.device)

    def score(self, objective: np.ndarray, shortfall: np.ndarray) -> float:
        """What it minimises, on other paths: how checks rank it. [bps]"""
        nothing = torch.zeros(len(objective))
        costs = Costs(torch.from_numpy(objective), torch.from_numpy(shortfall), nothing, nothing)
        return float(pathwise_loss(costs, self.config))

    def drawn_from(self, problem: Problem) -> Problem:
        """What paths are drawn from, in training and in checks: for ``worst``, several in a row from each market."""
        return shared(problem, self.config.paths_per_market) if self.config.objective == "worst" else problem

    def check_env(self, env: VectorEnv) -> None:
        """Refuse an environment that it cannot learn in.

        Raises:
            InputError: for a problem without tensors or with another observation, for one market where the worst is
                wanted, or a reward of one's own, which would have no effect.
        """
        inner: Any = env.unwrapped
        inner.problem.torch(str(self.device))
        if self.config.objective == "worst" and inner.problem.ranges is None:
            raise InputError("objective = 'worst': all paths play one market; draw markets with randomise")
        if inner.problem.names != self.names[: len(inner.problem.names)]:
            theirs = ", ".join(inner.problem.names)
            raise InputError(f"{self.name}: acts on {', '.join(self.names)}, but this problem shows {theirs}")
        if named := ", ".join((*inner.problem.recorded, *inner.problem.features)):
            raise InputError(f"features = {named}: {self.name} acts on the problem's own entries alone; leave them out")
        for name, value in vars(inner.reward).items():
            if value != getattr(Reward, name):
                raise InputError(
                    f"{'reward' if name == 'kind' else name} = {value!r}: {self.name} minimises its own objective, "
                    f"{self.config.objective!r}, and not a reward; leave it out"
                )

    def learn(self, env: VectorEnv, steps: int, seed: int, report: Callable[[int, dict[str, float]], None]) -> None:
        """Learn from whole batches of paths, ``steps`` slices in all or the whole number of batches just above.

        Args:
            env: tells the problem; its own paths are not used.
            steps: slices.
            seed: of the paths.
            report: called with the slices just played and what there is to log.

        Raises:
            InputError: as ``check_env``, and when learning diverged.
        """
        self.check_env(env)
        c, problem = self.config, self.drawn_from(env.unwrapped.problem)  # type: ignore[attr-defined]
        market = problem.torch(str(self.device))
        draw = self._paths(market, problem, seed)
        per_batch = c.paths * problem.n_steps
        self._due += steps
        losses: list[torch.Tensor] = []
        while self.steps < self._due:
            losses.append(self.update(market, draw()))
            self.steps += per_batch
            report(per_batch, {})
        if losses:
            loss, size = torch.stack([torch.stack(losses).mean(), self._size()]).tolist()
            if not np.isfinite(loss + size):
                raise InputError(
                    f"after {self.steps} steps the loss is {loss:g} and the largest weight {size:g}: learning "
                    f"diverged: try a smaller learning rate than {c.learning_rate:g}"
                )
            report(0, {"loss": loss})

    def _paths(self, market: TorchMarket, problem: Problem, seed: int) -> Callable[[], Paths]:
        """Draws the paths of a gradient step: from the market's equations, or at random starts of the tape."""
        if problem.starts() is None:
            generator = market.generator(seed)
            return lambda: market.simulate(self.config.paths, generator)
        rng = np.random.default_rng(seed)
        return lambda: market.load(problem.sample([rng], self.config.paths))

    def update(self, market: TorchMarket, paths: Paths) -> torch.Tensor:
        """One gradient step on fresh paths; returns the loss. Shape: []."""
        c = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = half_cosine(c.learning_rate)(1 - min(self.steps / self.total_steps, 1.0))
        loss = pathwise_loss(market.costs(self.policy.begin(paths.n_paths), paths, _FRACTION), c)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), c.max_gradient_norm)
        self.optimiser.step()
        return loss.detach()

    def _size(self) -> torch.Tensor:
        """Of the largest weight; not finite where one is not. Shape: []."""
        return torch.stack([w.detach().abs().max() for w in self.policy.parameters()]).max()

    def save(self, folder: Path) -> None:
        """Write all that acting needs; see ``exec_env.harness.training.weights``."""
        save_weights(folder, self.name, self.head, self.config, self.policy.state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; nothing in it is run.

        Raises:
            InputError: naming the file and what is wrong with it.
        """
        config, head, weights = load_weights(folder, cls.Config)
        agent = cls(config, head)
        with weights_must_fit(folder):
            agent.policy.load_state_dict(weights)
        return agent

    def state_dict(self) -> dict[str, Any]:
        """Everything that going on needs: network, optimiser and counters."""
        return {
            "policy": self.policy.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
            "due": self._due,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            KeyError, RuntimeError, ValueError: when it is of another agent.
        """
        self.policy.load_state_dict(state["policy"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps, self._due = int(state["steps"]), int(state["due"])


class Pathwise(PathwiseLearner):
    """The pathwise policy without a memory. See ``PathwiseLearner`` for arguments."""

    name, Config = "pathwise", PathwiseConfig

    def network(self, time_left: int) -> Paces:
        """See ``PathwiseLearner``."""
        return Paces(len(self.names), self.config.hidden, self.head.n_steps, time_left)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Fractions of what is left. Shape: (n, D) -> (n, 1)."""
        with torch.no_grad():
            fractions = self.policy(self.tensor(observations))
        return fractions.clamp(max=1.0)[:, None].cpu().numpy()
