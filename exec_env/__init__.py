"""Gymnasium environments for optimal trade execution.

>>> import gymnasium as gym, exec_env
>>> env = gym.make("AlmgrenChriss-v0")
"""

from exec_env.actions import ActionMode
from exec_env.market import Market
from exec_env.order import Order
from exec_env.presets import PRESETS
from exec_env.recording import Recording
from exec_env.registry import ENVIRONMENTS, register
from exec_env.tape import Tape

__all__ = ["ENVIRONMENTS", "PRESETS", "ActionMode", "Market", "Order", "Recording", "Tape"]
__version__ = "0.1.0"

register()
