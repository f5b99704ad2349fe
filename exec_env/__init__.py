"""Gymnasium environments for optimal trade execution.

>>> import gymnasium as gym, exec_env
>>> env = gym.make("AlmgrenChriss-v0")
"""

from exec_env.data.tape import Tape
from exec_env.envs.problem import Problem
from exec_env.envs.registry import ENVIRONMENTS, register, register_all
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.presets import PRESETS

__all__ = ["ENVIRONMENTS", "PRESETS", "ActionMode", "Market", "Order", "Paths", "Problem", "Tape", "register"]
__version__ = "0.1.0"

register_all()
