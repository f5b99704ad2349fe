"""The linear-quadratic bound under its short name; it is written in ``exec_env.optimum.lq``."""

from exec_env.optimum.lq import NoOptimum, Solution, schedule, solve, solve_linearised

__all__ = ["NoOptimum", "Solution", "schedule", "solve", "solve_linearised"]
