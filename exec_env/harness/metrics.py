"""What is said of each agent."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from exec_env.base.bootstrap import Errors, Independent
from exec_env.harness.estimates import Estimate, difference, estimates

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
    per_path: pd.DataFrame,
    bound_bps: float | None,
    errors: Errors | None = None,
    reference: str = REFERENCE,
    best_bps: float | None = None,
    price_of_variance: float | None = None,
    found: Mapping[str, Estimate] | None = None,
) -> pd.DataFrame:
    """One row per agent, best objective first. Costs in basis points of the arrival notional.

    Columns: ``objective_mean`` (J) and its standard error ``objective_se``, with the control variate that was taken off
    (``variate``), and whether an interval from that error is to be ``trusted`` (1 or 0); ``objective_raw_mean`` and
    ``objective_raw_se`` without; of the realised shortfall ``shortfall_mean``, ``shortfall_se``, ``shortfall_std``,
    ``cvar95``, ``sharpe`` = −mean / std (undefined, like every column that is, as NaN) and ``mean_variance``, its mean
    plus risk aversion times its variance, E + λ Var, which is not J for a policy that looks at the price (Lorenz &
    Almgren 2011, "Mean-variance optimal adaptive execution"); against the bound ``gap_percent`` and
    ``gap_closed_percent``, the share of TWAP's gap that is closed; against the best achievable value
    ``gap_best_percent``; against TWAP on the same paths ``diff`` (in J, negative is better) with its 95 % interval
    ``diff_low``, ``diff_high``, ``diff_trusted`` and ``win_rate``, the share of paths with a lower realised shortfall
    (a tie counts half); against the best agent of the table ``behind`` with ``behind_low``, ``behind_high``;
    ``shares_left`` for the closing block and ``participation``, both means.

    Args:
        per_path: from ``evaluate``.
        bound_bps: lower bound on J; None where there is none. A gap is relative, so that it needs a positive bound.
        errors: what standard errors and intervals come from; by default paths are independent.
        reference: the agent in the place of TWAP.
        best_bps: the best achievable value, if it is known.
        price_of_variance: as of ``Problem``.
        found: estimates of J by agent, where they are known already.
    """
    rows, errors = {}, errors or Independent()
    groups = {str(agent): paths for agent, paths in per_path.groupby("agent", sort=False, observed=True)}
    found = estimates(per_path, errors) if found is None else found
    theirs_on, price = groups.get(reference), np.nan if price_of_variance is None else price_of_variance
    best = min(found, key=lambda agent: found[agent].mean)
    columns = {agent: paths["objective"].to_numpy() for agent, paths in groups.items()}

    def against(agent: str, other: str) -> Estimate:
        return difference(found[agent], found[other], columns[agent] - columns[other], errors)

    for agent, paths in groups.items():
        j, raw, shortfall = found[agent], columns[agent], paths["shortfall"].to_numpy()
        std = shortfall.std(ddof=1) if len(paths) > 1 else np.nan
        row = {
            "objective_mean": j.mean,
            "objective_se": j.se,
            "variate": j.variate,
            "trusted": float(j.trusted),
            "objective_raw_mean": raw.mean(),
            "objective_raw_se": errors.standard_error(raw),
            "shortfall_mean": shortfall.mean(),
            "shortfall_se": errors.standard_error(shortfall),
            "shortfall_std": std,
            "cvar95": cvar(shortfall),
            "sharpe": -shortfall.mean() / std if std > 0 else np.nan,
            "mean_variance": shortfall.mean() + price * std**2,
            "gap_percent": _percent(j.mean, bound_bps),
            "gap_best_percent": _percent(j.mean, best_bps),
            "gap_closed_percent": np.nan,
            **dict.fromkeys(("diff", "diff_low", "diff_high", "diff_trusted", "win_rate"), np.nan),
        }
        if theirs_on is not None:
            d = against(agent, reference)
            row |= {"diff": d.mean, "diff_low": d.interval[0], "diff_high": d.interval[1]}
            row["diff_trusted"] = float(d.trusted)
            theirs = theirs_on["shortfall"].to_numpy()
            row["win_rate"] = float((shortfall < theirs).mean() + (shortfall == theirs).mean() / 2)
            gap = found[reference].mean - bound_bps if bound_bps else np.nan
            row["gap_closed_percent"] = 0.0 - 100 * d.mean / gap if gap and gap > 0 else np.nan
        behind = against(agent, best)
        row |= {"behind": behind.mean, "behind_low": behind.interval[0], "behind_high": behind.interval[1]}
        row["shares_left"] = paths["shares_left"].mean()
        row["participation"] = paths["participation"].mean() if "participation" in paths else np.nan
        rows[agent] = row
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "agent"
    return table.sort_values("objective_mean")


def _percent(mean: float, reference: float | None) -> float:
    """How far above a reference, which must be positive. [%]"""
    return 100 * (mean / reference - 1) if reference and reference > 0 else np.nan
