"""The liquidity factor: log volume, log spread and log depth as three noisy views of one Ornstein-Uhlenbeck process.

    log volume = μ_V(u) + ℓ + v_V z,   log spread = μ_h(u) − β ℓ + v_h z,   log depth = μ_D(u) + ℓ + v_D z

with u the time of day, and ℓ as in ``exec_env.market.market.Market.next_liquidity``, from its stationary law after each
gap. The inverse slope of the book is depth's better measure where it is known. Estimated by maximum likelihood: the
Kalman filter of statsmodels (Durbin & Koopman 2012, "Time Series Analysis by State Space Methods", chapters 4 and 7).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from exec_env.base.bootstrap import Z95
from exec_env.base.jackknife import Estimate

_DEGREE = 4  # degree of the polynomial in the time of day
_LIKELIHOOD = 12.0  # log likelihood ratio, at least, for there to be a factor
_LIMIT = 1.92  # fall of the log likelihood at the end of a 95 % interval
_TRIED = np.linspace(0.05, 0.95, 10)  # of s, as parts of the standard deviation of log volume, for its upper limit
_CONSTANT = 1e-3
"""Log standard deviation below which a column never differs, such as a spread of always one tick."""


@dataclass(frozen=True)
class Factor:
    """The fit. An estimate is missing where there was nothing to see it in.

    Where no factor shows, s is zero, and the noises are all that the columns vary by.
    """

    reversion: Estimate | None
    """θ. [1/day]"""
    volatility: Estimate
    """s."""
    limit: float | None
    """Where no factor shows: the upper end of the 95 % interval of s."""
    elasticity: Estimate | None
    """β of the spread."""
    volume_noise: Estimate
    spread_noise: Estimate | None
    depth_noise: Estimate | None
    mean: np.ndarray
    """E[ℓ | all data]. Shape: (rows,)."""
    variance: np.ndarray
    """Var[ℓ | all data]. Shape: (rows,)."""

    @property
    def impact(self) -> np.ndarray:
        """E[e^{−ℓ − s²/2} | all data], the mean-one factor of temporary impact. Shape: (rows,)."""
        return np.exp(-self.mean + self.variance / 2 - self.volatility.value**2 / 2)


def without_profile(column: np.ndarray, time_of_day: np.ndarray | None) -> np.ndarray:
    """A column less its mean at that time of day, a polynomial; less its mean where the time of day is None."""
    if time_of_day is None:
        return column - np.nanmean(column)
    known = np.isfinite(column)
    u = 2 * time_of_day - 1
    degree = min(_DEGREE, len(np.unique(u[known])) - 1)
    fitted = np.polynomial.legendre.legfit(u[known], column[known], degree)
    return column - np.polynomial.legendre.legval(u, fitted)


def fit(
    volume: np.ndarray,
    spread: np.ndarray,
    depth: np.ndarray | None,
    new: np.ndarray,
    slice_length: float,
    time_of_day: np.ndarray | None = None,
    reversion: float = 7.8,
) -> Factor:
    """Maximum likelihood; without a factor where one is not clearly more likely.

    Args:
        volume: of each slice; a zero is unknown. [shares]
        spread: the same. [$, or any unit]
        depth: the same, where there is any. [any unit]
        new: whether a slice comes after a gap.
        slice_length: Δ. [day]
        time_of_day: of each slice, from 0 to 1, over which means differ; None: they do not.
        reversion: θ at which a factor could be hidden where none shows. [1/day]
    """
    from statsmodels.tools.numdiff import approx_fprime, approx_hess3
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    found: dict[str, np.ndarray] = {"volume": without_profile(_log(volume), time_of_day)}
    for name, raw in (("spread", spread), ("depth", depth)):
        if raw is not None and varies(raw):
            found[name] = without_profile(_log(raw), time_of_day)
    if not varies(volume):  # which liquidity would move
        return _without(found, 0.0)
    names = list(found)
    y = np.stack(list(found.values()), -1)
    kalman = KalmanSmoother(k_endog=len(names), k_states=1, loglikelihood_burn=0)
    kalman.bind(np.ascontiguousarray(y))
    kalman.filter_univariate = True
    kalman["selection"] = np.ones((1, 1))
    goes_on = np.r_[~new[1:], False].astype(float)

    # Logs of θ, s and the noises, then β.
    def place(parameters: np.ndarray) -> None:
        theta, s = np.exp(parameters[:2])
        noises = np.exp(parameters[2 : 2 + len(names)])
        a = math.exp(-theta * slice_length) * goes_on
        beta = parameters[-1] if "spread" in names else 0.0
        loading = {"volume": 1.0, "spread": -beta, "depth": 1.0}
        kalman["design"] = np.array([[loading[name]] for name in names])
        kalman["obs_cov"] = np.diag(noises**2)
        kalman["transition"] = a[None, None, :]
        kalman["state_cov"] = (s**2 * (1 - a**2))[None, None, :]
        kalman.initialize_known(np.zeros(1), np.array([[s**2]]))

    def loss(parameters: np.ndarray) -> float:
        place(parameters)
        return -float(kalman.loglike()) / len(y)

    def gradient(parameters: np.ndarray) -> np.ndarray:
        return np.asarray(approx_fprime(parameters, loss, centered=True))

    start, bounds = _start(y, names, new, slice_length)
    best = minimize(loss, start, method="L-BFGS-B", bounds=bounds, jac=gradient)
    variances = np.nanvar(y, 0)
    alone = 0.5 * float((np.isfinite(y).sum(0) * (np.log(2 * np.pi * variances) + 1)).sum())
    if alone - best.fun * len(y) < _LIKELIHOOD:
        return _without(found, _upper_limit(loss, alone / len(y), variances, names, len(y), math.log(reversion)))
    curvature = approx_hess3(best.x, loss) * len(y)
    errors = np.sqrt(np.maximum(np.diag(np.linalg.pinv(curvature)), 0.0))
    at_edge = np.array([min(x - low, high - x) < 1e-6 for x, (low, high) in zip(best.x, bounds, strict=True)])
    errors = np.where(at_edge, np.inf, errors)
    place(best.x)
    smoothed = kalman.smooth()
    estimates = [Estimate(math.exp(x), math.exp(x) * float(e)) for x, e in zip(best.x[:-1], errors[:-1], strict=True)]
    noise = dict(zip(names, estimates[2:], strict=False))
    return Factor(
        reversion=estimates[0],
        volatility=estimates[1],
        limit=None,
        elasticity=Estimate(float(best.x[-1]), float(errors[-1])) if "spread" in names else None,
        volume_noise=noise["volume"],
        spread_noise=noise.get("spread"),
        depth_noise=noise.get("depth"),
        mean=smoothed.smoothed_state[0],
        variance=smoothed.smoothed_state_cov[0, 0],
    )


def varies(column: np.ndarray) -> bool:
    """Whether a column ever differs, zeros apart; at least ten numbers are needed to tell."""
    known = column[column > 0]
    return len(known) >= 10 and bool(np.std(np.log(known)) > _CONSTANT)


def _without(found: dict[str, np.ndarray], limit: float) -> Factor:
    """No factor: all that a column varies by is its noise, with the error of a standard deviation of any law."""
    noise = {}
    for name, column in found.items():
        x = column[np.isfinite(column)]
        std, fourth = float(x.std()), float(((x - x.mean()) ** 4).mean())
        error = math.sqrt(max(fourth - std**4, 0.0) / len(x)) / (2 * std) if std > 0 else 0.0
        noise[name] = Estimate(std, error)
    zeros = np.zeros(len(found["volume"]))
    return Factor(
        reversion=None,
        volatility=Estimate(0.0, limit / Z95),
        limit=limit,
        elasticity=None,
        volume_noise=noise["volume"],
        spread_noise=noise.get("spread"),
        depth_noise=noise.get("depth"),
        mean=zeros,
        variance=zeros,
    )


def _upper_limit(
    loss: Callable[[np.ndarray], float],
    alone: float,
    variances: np.ndarray,
    names: list[str],
    n: int,
    log_reversion: float,
) -> float:
    """The largest s that the likelihood allows at that θ, with columns as wide as they are and the likeliest β.

    Args:
        loss: minus the mean log likelihood, of the parameters.
        alone: the same without a factor.
        variances: of the columns.
        names: of the columns.
        n: rows.
        log_reversion: log θ.
    """

    def at(s: float, beta: float) -> float:
        loading = np.array([beta if name == "spread" else 1.0 for name in names])
        noises = np.sqrt(np.maximum(variances - (loading * s) ** 2, 0.01 * variances))
        return loss(np.r_[log_reversion, math.log(s), np.log(noises), beta])

    def profile(s: float) -> float:
        if "spread" not in names:
            return at(s, 0.0)
        return float(minimize_scalar(lambda b: at(s, b), bounds=(-3, 3), method="bounded", options={"xatol": 0.1}).fun)

    tried = np.r_[0.0, _TRIED * variances[0] ** 0.5]
    fall = n * np.array([alone, *(profile(s) for s in tried[1:])])
    fall -= fall.min()
    last = int(np.flatnonzero(fall <= _LIMIT)[-1])
    if last == len(tried) - 1:
        return float(variances[0] ** 0.5)
    return float(np.interp(_LIMIT, fall[last : last + 2], tried[last : last + 2]))


def absent(volume: np.ndarray) -> Factor:
    """No factor, where nothing could show one: all of log volume is noise.

    Args:
        volume: of each slice. [shares]
    """
    return _without({"volume": _log(volume)}, math.inf)


def _log(column: np.ndarray) -> np.ndarray:
    return np.log(np.where(column > 0, column, np.nan))


def _start(
    y: np.ndarray, names: list[str], new: np.ndarray, slice_length: float
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Where the search begins, by moments at lags, and what it stays within."""
    volume = np.nan_to_num(y[:, 0])
    session = np.cumsum(new)

    def covariance(column: np.ndarray, lag: int) -> float:
        same = session[lag:] == session[: len(session) - lag]
        return float(np.mean((column[lag:] * volume[: len(volume) - lag])[same])) if same.any() else 0.0

    total = float(volume.var())
    one, five = covariance(volume, 1), covariance(volume, 5)
    variance = min(max(one, 0.05 * total), 0.95 * total)
    a = (five / one) ** 0.25 if 0 < five < one else 0.9
    theta = -math.log(a) / slice_length
    limits = (math.log(0.2 / (len(y) * slice_length)), math.log(3 / slice_length))
    noises = [math.log(max(np.nanvar(column) - variance, 0.3 * np.nanvar(column)) ** 0.5) for column in y.T]
    start = [np.clip(math.log(theta), *limits), 0.5 * math.log(variance), *noises, 0.0]
    bounds = [limits, (-7.0, 2.0), *[(-7.0, 3.0)] * len(names), (-10.0, 10.0)]
    if "spread" in names:
        start[-1] = -covariance(np.nan_to_num(y[:, names.index("spread")]), 1) / variance
    return np.array(start), bounds
