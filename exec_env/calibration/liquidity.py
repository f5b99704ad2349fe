"""The liquidity factor: log volume, log spread and log depth as three noisy views of one Ornstein-Uhlenbeck process.

    log volume = μ_V(u) + ℓ + v_V z,   log spread = μ_h(u) − β ℓ + v_h z,   log depth = μ_D(u) + ℓ + v_D z

with u the time of day, and ℓ as in ``exec_env.market.market.Market.next_liquidity``, from its stationary law after each
gap. The inverse slope of the book is depth's better measure where it is known. Estimated by maximum likelihood: the
Kalman filter of statsmodels (Durbin & Koopman 2012, "Time Series Analysis by State Space Methods", chapters 4 and 7).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from exec_env.base.jackknife import Estimate

_DEGREE = 4  # degree of the polynomial in the time of day


@dataclass(frozen=True)
class Factor:
    """The fit. An estimate is missing where there was nothing to see it in."""

    reversion: Estimate
    """θ. [1/day]"""
    volatility: Estimate
    """s."""
    elasticity: Estimate | None
    """β of the spread."""
    volume_noise: Estimate
    spread_noise: Estimate | None
    depth_noise: Estimate | None
    mean: np.ndarray
    """E[ℓ | all data]. Shape: (rows,)."""
    variance: np.ndarray
    """Var[ℓ | all data]. Shape: (rows,)."""
    likelihood: float
    """Log likelihood of the fit; ``without`` is that of a model that has no factor."""
    without: float

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
    degree = min(_DEGREE, len(np.unique(u)) - 1)
    fitted = np.polynomial.legendre.legfit(u[known], column[known], degree)
    return column - np.polynomial.legendre.legval(u, fitted)


def fit(
    volume: np.ndarray,
    spread: np.ndarray,
    depth: np.ndarray | None,
    new: np.ndarray,
    slice_length: float,
    time_of_day: np.ndarray | None = None,
) -> Factor:
    """Maximum likelihood.

    Args:
        volume: of each slice; a zero is unknown. [shares]
        spread: the same. [$, or any unit]
        depth: the same, where there is any. [any unit]
        new: whether a slice comes after a gap.
        slice_length: Δ. [day]
        time_of_day: of each slice, from 0 to 1, over which means differ; None: they do not.
    """
    from statsmodels.tools.numdiff import approx_fprime, approx_hess3
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    found: dict[str, np.ndarray] = {"volume": without_profile(_log(volume), time_of_day)}
    for name, raw in (("spread", spread), ("depth", depth)):
        # A column that hardly ever changes, such as a spread of always one tick, says nothing about liquidity.
        if raw is not None and np.any(raw > 0) and np.nanstd(_log(raw)) > 1e-3:
            found[name] = without_profile(_log(raw), time_of_day)
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
    curvature = approx_hess3(best.x, loss) * len(y)
    errors = np.sqrt(np.maximum(np.diag(np.linalg.pinv(curvature)), 0.0))
    at_edge = np.array([min(x - low, high - x) < 1e-6 for x, (low, high) in zip(best.x, bounds, strict=True)])
    errors = np.where(at_edge, np.inf, errors)
    place(best.x)
    smoothed = kalman.smooth()
    estimates = [Estimate(math.exp(x), math.exp(x) * float(e)) for x, e in zip(best.x[:-1], errors[:-1], strict=True)]
    noise = dict(zip(names, estimates[2:], strict=False))
    alone = -0.5 * sum(np.isfinite(c).sum() * (math.log(2 * math.pi * float(np.nanvar(c))) + 1) for c in found.values())
    return Factor(
        reversion=estimates[0],
        volatility=estimates[1],
        elasticity=Estimate(float(best.x[-1]), float(errors[-1])) if "spread" in names else None,
        volume_noise=noise["volume"],
        spread_noise=noise.get("spread"),
        depth_noise=noise.get("depth"),
        mean=smoothed.smoothed_state[0],
        variance=smoothed.smoothed_state_cov[0, 0],
        likelihood=-loss(best.x) * len(y),
        without=float(alone),
    )


def absent(volume: np.ndarray) -> Factor:
    """No factor, where nothing could show one: all of log volume is noise.

    Args:
        volume: of each slice. [shares]
    """
    rows, unknown = np.zeros(len(volume)), Estimate(0.0, math.inf)
    noise = Estimate(float(np.nanstd(_log(volume))), math.inf)
    return Factor(unknown, unknown, None, noise, None, None, rows, rows, 0.0, 0.0)


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
