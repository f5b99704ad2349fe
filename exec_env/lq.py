"""The linear-quadratic bound under its short name; it is written in ``exec_env.optimum.lq``."""

from exec_env.optimum.lq import NoOptimum, Solution, solve, solve_linearised
from exec_env.optimum.schedule import best_schedule

__all__ = ["NoOptimum", "Solution", "best_schedule", "solve", "solve_linearised"]
