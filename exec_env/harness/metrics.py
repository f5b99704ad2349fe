"""What is said of each agent."""

import numpy as np
import pandas as pd

from exec_env.base.bootstrap import Errors, Independent

REFERENCE = "twap"
"""Agent that others are compared with, path by path, unless the problem has another."""


def cvar(costs: np.ndarray, level: float = 0.95) -> float:
    """Conditional value at risk: mean of the costliest 1 − ``level`` of the paths, at least one.

    Source: Rockafellar & Uryasev (2000), "Optimization of conditional value-at-risk".

    >>> cvar(np.arange(1.0, 101.0))
    98.0
    """
    n = max(1, round(len(costs) * (1 - level)))
    return float(np.partition(costs, -n)[-n:].mean())


def summarise(
    per_path: pd.DataFrame, bound_bps: float | None, errors: Errors | None = None, reference: str = REFERENCE
) -> pd.DataFrame:
    """One row per agent, best objective first. Costs in basis points of the arrival notional.

    Columns: ``objective_mean`` (J) and its standard error ``objective_se``; of the realised shortfall
    ``shortfall_mean``, ``shortfall_se``, ``shortfall_std``, ``cvar95`` and ``sharpe`` = −mean / std (undefined, like
    every column that is, as NaN); against the bound ``gap_percent`` and ``gap_closed_percent``, the share of TWAP's
    gap that is closed; against TWAP on the same paths ``diff`` (in J, negative is better) with its 95 % interval
    ``diff_low``, ``diff_high``, and ``win_rate``, the share of paths with a lower realised shortfall (a tie
    counts half); ``shares_left``
    for the closing block and ``participation``, both means.

    Args:
        per_path: from ``evaluate``.
        bound_bps: lower bound on J; None where there is none. A gap is relative, so that it needs a positive bound.
        errors: what standard errors and intervals come from; by default paths are independent.
        reference: the agent in the place of TWAP.
    """
    rows, errors = {}, errors or Independent()
    groups = dict(tuple(per_path.groupby("agent", sort=False, observed=True)))
    theirs_on = groups.get(reference)
    for agent, paths in groups.items():
        objective, shortfall = paths["objective"].to_numpy(), paths["shortfall"].to_numpy()
        std = shortfall.std(ddof=1) if len(paths) > 1 else np.nan
        row = {
            "objective_mean": objective.mean(),
            "objective_se": errors.standard_error(objective),
            "shortfall_mean": shortfall.mean(),
            "shortfall_se": errors.standard_error(shortfall),
            "shortfall_std": std,
            "cvar95": cvar(shortfall),
            "sharpe": -shortfall.mean() / std if std > 0 else np.nan,
            "gap_percent": 100 * (objective.mean() / bound_bps - 1) if bound_bps and bound_bps > 0 else np.nan,
            "gap_closed_percent": np.nan,
            "diff": np.nan,
            "diff_low": np.nan,
            "diff_high": np.nan,
            "win_rate": np.nan,
            "shares_left": paths["shares_left"].mean(),
            "participation": paths["participation"].mean() if "participation" in paths else np.nan,
        }
        if theirs_on is not None:
            difference = objective - theirs_on["objective"].to_numpy()
            low, high = errors.interval(difference)
            row |= {"diff": difference.mean(), "diff_low": low, "diff_high": high}
            theirs = theirs_on["shortfall"].to_numpy()
            row["win_rate"] = float((shortfall < theirs).mean() + (shortfall == theirs).mean() / 2)
            gap = theirs_on["objective"].mean() - bound_bps if bound_bps else np.nan
            row["gap_closed_percent"] = 0.0 - 100 * difference.mean() / gap if gap and gap > 0 else np.nan
        rows[agent] = row
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "agent"
    return table.sort_values("objective_mean")
