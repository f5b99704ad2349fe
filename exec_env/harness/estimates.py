"""Estimates of J and of differences in J from control variates, and whether their intervals are to be trusted.

A control variate is a sum along an agent's path whose mean is known to be zero (``exec_env.envs.variates``). Taking it
off changes no mean, but it may take most of the variance with it. Whether they are taken off is chosen agent by agent,
by the estimated standard error, with four cautions that keep intervals honest, as measured by how often they hold the
truth:

- Coefficients are one, the value by theory for a policy that is nearly optimal, unless regression on the same paths
  makes the error less than half as large, and leaves light tails. Where few paths carry most of the variance,
  coefficients fit these paths.
- A variate that says nothing of rare events is not taken alone unless what is left has tails that are lighter still: in
  most samples the event is missing, and the error looks far smaller than it is.
- Of errors of a difference that are much the same, that with variates is taken: they know of rare events that these
  paths may not show.
- An interval is said to be not to be trusted where tails are heavy for so few paths, or where the error is smaller than
  so few paths can show: then what is left to vary may be missing from all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from exec_env.base.bootstrap import Errors, Independent

PREFIX = "variate_"
"""Of the columns of a table of episodes that are control variates."""
NONE = "none"
"""Name of no variate."""
_KNOWS = 0.8  # part of the error with variates that know of rare events that the plain one has to be below to be taken
_PAYS = 0.5  # part of the error with coefficients one that regression has to leave to be used
_HEAVY = 10  # an interval needs this many paths for each unit of kurtosis
_LIGHT = 100  # regression needs so many
_ALONE = 300  # and a variate so many beside which rare events may be missing from the sample
_SMALLER = 20  # to trust an error that variates have made a times smaller, a times so many
_NOTHING = 1e-9  # what varies by no more than this part is rounding


@dataclass(frozen=True)
class Estimate:
    """The mean of a column over paths."""

    values: np.ndarray = field(repr=False)
    """What the mean is over: the column less its control variates. Shape: (n_paths,)."""
    mean: float
    se: float
    """Standard error of the mean."""
    interval: tuple[float, float]
    """95 % interval of the mean."""
    variate: str
    """What was taken off: ``NONE``, or names of variates."""
    kurtosis: float
    """Of the values; 3 for a normal distribution. NaN where they vary by rounding alone."""
    smaller: float = 1.0
    """How many times smaller the error is than without variates."""

    @property
    def trusted(self) -> bool:
        """Whether there are enough paths for such tails, and for so small an error."""
        if np.isnan(self.kurtosis):
            return True
        return self.enough(_HEAVY) and self.smaller * _SMALLER <= len(self.values)

    def enough(self, each: float) -> bool:
        """Whether there are ``each`` paths for each unit of kurtosis, or nothing varies."""
        return not self.kurtosis * each > len(self.values)


def kurtosis(values: np.ndarray) -> float:
    """Fourth moment about the mean over the square of the variance; NaN where there is none.

    >>> kurtosis(np.array([-1.0, 1.0, -1.0, 1.0]))
    1.0
    """
    square = (values - values.mean()) ** 2
    variance = square.mean()
    return float((square**2).mean() / variance**2) if variance > (_NOTHING * abs(values.mean())) ** 2 else np.nan


def plain(values: np.ndarray, errors: Errors, variate: str = NONE, n_fitted: int = 0) -> Estimate:
    """The mean of ``values`` as they are, from which ``n_fitted`` coefficients were fitted."""
    n = len(values)
    scale = ((n - 1) / (n - 1 - n_fitted)) ** 0.5 if n > n_fitted + 1 else np.nan
    mean, (low, high) = float(values.mean()), errors.interval(values)
    interval = mean + scale * (low - mean), mean + scale * (high - mean)
    return Estimate(values, mean, scale * errors.standard_error(values), interval, variate, kurtosis(values))


def controlled(values: np.ndarray, variates: Mapping[str, np.ndarray], errors: Errors) -> Estimate:
    """The best estimate of the mean of ``values``.

    Args:
        values: a column. Shape: (n_paths,).
        variates: by name; their means are zero. One alone is taken to say nothing of rare events.
        errors: what standard errors come from.
    """
    raw = best = plain(values, errors)
    if variates:
        found = _with(variates, values, errors)
        if found.se < raw.se and (len(variates) > 1 or found.enough(_ALONE)):
            best = found
    return _beside(raw, best)


def _beside(raw: Estimate, best: Estimate) -> Estimate:
    """An estimate that knows how much smaller its error is than that of the column as it is."""
    return replace(best, smaller=raw.se / best.se if best.se > 0 else np.inf)


def _with(variates: Mapping[str, np.ndarray], values: np.ndarray, errors: Errors) -> Estimate:
    """The estimate with all of these variates, their coefficients one or fitted."""
    label, columns = " + ".join(variates), np.stack(list(variates.values()), 1)
    by_theory = plain(values - columns.sum(1), errors, label)
    vary = columns.std(0) > _NOTHING * values.std()
    if len(values) <= columns.shape[1] + 1 or not vary.any():
        return by_theory
    moved = columns[:, vary] - columns[:, vary].mean(0)
    coefficients = np.linalg.lstsq(moved, values - values.mean(), rcond=None)[0]
    fitted = plain(values - columns[:, vary] @ coefficients, errors, f"{label} (fitted)", int(vary.sum()))
    return fitted if fitted.se < _PAYS * by_theory.se and fitted.enough(_LIGHT) else by_theory


def estimates(per_path: pd.DataFrame, errors: Errors) -> dict[str, Estimate]:
    """J of each agent in a table of episodes."""
    groups = per_path.groupby("agent", sort=False, observed=True)
    return {str(agent): controlled(paths["objective"].to_numpy(), _columns(paths), errors) for agent, paths in groups}


def pays(paths: pd.DataFrame, names: tuple[str, ...]) -> tuple[str, ...]:
    """Which variates are worth their time on more paths, from those of the first block: all, or all but the dear last.

    Args:
        paths: of one agent.
        names: of the variates that were tried.
    """
    chosen = controlled(paths["objective"].to_numpy(), _columns(paths), Independent()).variate
    return names if len(names) < 2 or names[-1] in chosen else names[:-1]


def _columns(paths: pd.DataFrame) -> dict[str, np.ndarray]:
    """Variates of one agent, up to the first that is not known on all of its paths."""
    columns = {}
    for name in paths.columns[paths.columns.str.startswith(PREFIX)]:
        column = paths[name].to_numpy()
        if np.isnan(column).any():
            break
        columns[name.removeprefix(PREFIX)] = column
    return columns


def difference(one: Estimate, other: Estimate, raw: np.ndarray, errors: Errors) -> Estimate:
    """The difference of two means on the same paths: of the estimates, or of the columns ``raw`` as they are."""
    as_it_is = best = plain(raw, errors)
    if {one.variate, other.variate} != {NONE}:
        of_both = plain(one.values - other.values, errors, f"{one.variate}; {other.variate}")
        best = of_both if _KNOWS * of_both.se < best.se else best
    return _beside(as_it_is, best)
