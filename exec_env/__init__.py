"""Gymnasium environments for optimal trade execution.

>>> import gymnasium as gym, exec_env
>>> env = gym.make("AlmgrenChriss-v0")

Importing this registers the environments and little more: what a name here stands for is imported when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from exec_env.base import release
from exec_env.envs.registry import ENVIRONMENTS, make_vec, register, register_all

if TYPE_CHECKING:  # so that editors and type checkers see what __getattr__ finds
    from exec_env import lq as lq
    from exec_env.data.tape import Tape as Tape
    from exec_env.envs.problem import Problem as Problem
    from exec_env.harness.evaluation import bound as bound
    from exec_env.harness.evaluation import evaluate as evaluate
    from exec_env.market.market import Market as Market
    from exec_env.market.order import Order as Order
    from exec_env.market.paths import Paths as Paths
    from exec_env.one_asset.actions import ActionMode as ActionMode
    from exec_env.one_asset.presets import PRESETS as PRESETS

__all__ = [
    "ENVIRONMENTS",
    "PRESETS",
    "ActionMode",
    "Market",
    "Order",
    "Paths",
    "Problem",
    "Tape",
    "bound",
    "evaluate",
    "make",
    "make_vec",
    "register",
]

__version__ = release.VERSION

_HOMES = {
    "ActionMode": "exec_env.one_asset.actions",
    "Market": "exec_env.market.market",
    "Order": "exec_env.market.order",
    "PRESETS": "exec_env.one_asset.presets",
    "Paths": "exec_env.market.paths",
    "Problem": "exec_env.envs.problem",
    "Tape": "exec_env.data.tape",
    "bound": "exec_env.harness.evaluation",
    "evaluate": "exec_env.harness.evaluation",
}
"""Where the public names that are imported on first use are defined; TYPE_CHECKING above says the same."""

_PARTS = (
    "agents",
    "base",
    "baselines",
    "calibration",
    "data",
    "envs",
    "harness",
    "lq",
    "market",
    "one_asset",
    "optimum",
    "unknown_market",
)
"""Sub-modules that ``import exec_env`` makes reachable, likewise on first use."""


def make(env_id: str, **options: Any) -> gym.Env:
    """One environment, as ``gymnasium.make`` gives it.

    Args:
        env_id: one of ``ENVIRONMENTS``.
        **options: options of the problem: any field of Market and Order, ``preset``, ``tape`` ...

    Raises:
        InputError: naming the option that cannot be, its value and what is allowed.
    """
    return gym.make(env_id, **options)


if not TYPE_CHECKING:  # with it, every name would seem to exist

    def __getattr__(name: str) -> Any:
        if name in _PARTS:
            return import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PARTS})


register_all()
