"""What acting needs, in two files: ``agent.yaml`` says what the agent is, ``weights.pt`` holds its tensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.files import read_tensors, read_yaml, write_tensors, write_yaml
from exec_env.base.validation import from_mapping, require_count
from exec_env.envs.features import Sight
from exec_env.envs.problem import FAR, Problem
from exec_env.market.order import Order
from exec_env.one_asset import observation
from exec_env.one_asset.actions import ActionMode, described_mode, mode_from
from exec_env.one_asset.observation import Observation

_HIGHEST = 1e30  # of an action, in single precision


@dataclass(frozen=True)
class Head:
    """What an agent sees, and how its outputs become actions."""

    action_mode: Any
    """Meaning of the actions."""
    space: gym.Space[Any]
    """Gymnasium space of one action."""
    n_steps: int
    """Slices of the order it was trained on."""
    names: tuple[str, ...] = Observation._fields
    """Entries of the observation."""
    seen: gym.spaces.Box | None = None
    """Gymnasium space of one observation, where the environment is there; files do not keep its bounds."""

    @classmethod
    def of(cls, problem: Problem) -> "Head":
        """The head for a problem, in its own action mode."""
        actions, sight = problem.actions(), Sight(problem)
        _described(actions.space)  # refuses what files cannot keep, before any training
        return cls(actions.mode, actions.space, problem.n_steps, sight.names, sight.space)

    @property
    def mode_name(self) -> str:
        """Name of the action mode."""
        return str(getattr(self.action_mode, "name", self.action_mode))

    @property
    def is_discrete(self) -> bool:
        """Whether an action is one whole number."""
        return isinstance(self.space, gym.spaces.Discrete)

    @property
    def high(self) -> float:
        """Largest continuous action."""
        return float(self.space.high.max()) if isinstance(self.space, gym.spaces.Box) else 1.0

    @property
    def observation_space(self) -> gym.spaces.Box:
        """Gymnasium space of one observation."""
        if self.seen is not None:
            return self.seen
        if self.names == Observation._fields:
            return observation.space()
        return gym.spaces.Box(-FAR, FAR, (len(self.names),), np.float32)


def save_weights(folder: Path, agent: str, head: Head, config: Any, weights: dict[str, Any]) -> None:
    """Write both files into ``folder``, which is made if need be.

    Args:
        folder: where to.
        agent: the name under which the agent is known.
        head: of the agent.
        config: its ``Config``.
        weights: its tensors by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fields = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}
    described = {"agent": agent, "action_mode": described_mode(head.action_mode), "space": _described(head.space)}
    described |= {"n_steps": head.n_steps, "observation": list(head.names), "config": fields}
    write_yaml(folder / "agent.yaml", described)
    write_tensors(folder / "weights.pt", weights)


def load_weights(folder: str | Path, config_class: type[Any]) -> tuple[Any, Head, dict[str, Any]]:
    """Read what ``save_weights`` wrote, running nothing that it contains: (config, head, tensors by name).

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    folder = Path(folder)
    where = str(folder / "agent.yaml")
    described = read_yaml(folder / "agent.yaml")
    names = described.get("observation")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n.isidentifier() for n in names):
        raise InputError(f"{where}: observation = {names!r}: must be a list of names")
    config = from_mapping(config_class, described.get("config"), where)
    mode = mode_from(described.get("action_mode"), where)
    n_steps: Any = described.get("n_steps")
    require_count(**{f"{where}: n_steps": n_steps})
    head = Head(mode, _space(described.get("space"), where), int(n_steps), tuple(names))
    discrete = len(mode.values(Order())) if isinstance(mode, ActionMode) and mode.is_discrete else None
    if isinstance(mode, ActionMode) and discrete != (int(head.space.n) if head.is_discrete else None):  # type: ignore[attr-defined]
        raise InputError(
            f"{where}: action_mode = {described['action_mode']}: does not fit space = {described['space']}"
        )
    return config, head, read_tensors(folder / "weights.pt")


def _described(space: gym.Space[Any]) -> dict[str, Any]:
    """A space of actions in plain values."""
    if isinstance(space, gym.spaces.Discrete) and space.start == 0:
        return {"discrete": int(space.n)}
    if isinstance(space, gym.spaces.MultiDiscrete) and space.nvec.ndim == 1 and not space.start.any():
        return {"multi_discrete": space.nvec.tolist()}
    if (
        isinstance(space, gym.spaces.Box)
        and len(space.shape) == 1
        and (np.abs([space.low, space.high]) < _HIGHEST).all()
    ):
        return {"low": space.low.tolist(), "high": space.high.tolist()}
    raise InputError(
        f"action space {space}: cannot be kept; must be Discrete or MultiDiscrete from 0, or a Box of finite numbers"
    )


def _space(described: Any, where: str) -> gym.Space[Any]:
    """The space that ``_described`` described."""
    try:
        if set(described) == {"discrete"}:
            require_count(2, discrete=described["discrete"])
            return gym.spaces.Discrete(described["discrete"])
        if set(described) == {"multi_discrete"}:
            for n in described["multi_discrete"]:
                require_count(2, multi_discrete=n)
            return gym.spaces.MultiDiscrete(described["multi_discrete"])
        low, high = (np.array(described[end], np.float32) for end in ("low", "high"))
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: space = {described!r}: must be that of an action: {error}") from None
    if low.shape != high.shape or low.ndim != 1 or not (low < high).all() or not (np.abs(high) < _HIGHEST).all():
        raise InputError(f"{where}: space = {described!r}: must have finite bounds, the lower below the higher")
    return gym.spaces.Box(low, high)


@contextmanager
def weights_must_fit(folder: str | Path) -> Iterator[None]:
    """Turn torch's complaint about weights that do not fit the network into one sentence."""
    try:
        yield
    except (RuntimeError, AttributeError, TypeError, KeyError, IndexError) as error:
        what = " ".join(str(error).split())[:200]
        raise InputError(f"{Path(folder) / 'weights.pt'}: weights of another network: {what}") from None
