"""What acting needs, in two files: ``agent.yaml`` says what the agent is, ``weights.pt`` holds its tensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym

from exec_env.base.errors import InputError
from exec_env.base.files import read_tensors, read_yaml, write_tensors, write_yaml
from exec_env.base.validation import Bounds, Count, check_fields, from_mapping
from exec_env.market.order import Order
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.observation import Observation


@dataclass(frozen=True)
class Head:
    """How an agent's outputs become actions."""

    action_mode: ActionMode
    """Meaning of the actions."""
    high: Annotated[float, Bounds(low=0.0, high=3e38, open_low=True)]
    """Largest continuous action, in single precision."""
    n_steps: Count
    """Slices of the order it was trained on."""

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def of(cls, mode: ActionMode, order: Order) -> "Head":
        """The head for an action mode and an order."""
        return cls(mode, mode.high(order), order.n_steps)

    @property
    def space(self) -> gym.spaces.Discrete | gym.spaces.Box:
        """Gymnasium space of one action."""
        if self.action_mode.is_discrete:
            return gym.spaces.Discrete(self.action_mode.n_levels)
        return gym.spaces.Box(0.0, self.high, (1,))


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
    mode = {"name": head.action_mode.name, "levels": head.action_mode.levels and list(head.action_mode.levels)}
    described = {"agent": agent, "action_mode": mode, "high": float(head.high), "n_steps": head.n_steps}
    described |= {"observation": list(Observation._fields), "config": fields}
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
    if described.get("observation") != list(Observation._fields):
        raise InputError(
            f"{where}: observation = {described.get('observation')}: "
            f"this version's entries are {list(Observation._fields)}"
        )
    config = from_mapping(config_class, described.get("config"), where)
    mode = from_mapping(ActionMode, described.get("action_mode"), where)
    head = from_mapping(Head, {"action_mode": mode} | {k: described.get(k) for k in ("high", "n_steps")}, where)
    return config, head, read_tensors(folder / "weights.pt")


@contextmanager
def weights_must_fit(folder: str | Path) -> Iterator[None]:
    """Turn torch's complaint about weights that do not fit the network into one sentence."""
    try:
        yield
    except (RuntimeError, AttributeError, TypeError, KeyError, IndexError) as error:
        what = " ".join(str(error).split())[:200]
        raise InputError(f"{Path(folder) / 'weights.pt'}: weights of another network: {what}") from None
