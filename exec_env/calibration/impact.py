"""Impact: what takers pay beyond the touch, and how the price answers to their flow at several lags."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter

from exec_env.calibration.errors import Estimate, jackknife, sandwich
from exec_env.calibration.slicing import Slices

LAGS = (1, 2, 3, 5, 8, 12, 20)
"""Slices after which the response is shown."""


@dataclass(frozen=True)
class Response:
    """The price's answer to signed flow."""

    permanent: Estimate
    """γ. [$/share per share]"""
    transient: Estimate
    """κ. [$/share per share]"""
    resilience: Estimate
    """ρ. [1/day]"""
    curve: list[tuple[int, Estimate, float]]
    """Lag in slices; the mid's move per share of a slice's flow, the flow of the slices after it held fixed; and what
    the fit says it is. [$/share]"""
    explained: float
    """Part of the variance of returns that flow explains."""
    passing: np.ndarray
    """I, the part of the mid that is still to revert, before each slice. Shape: (rows,). [$]"""
    fitted: np.ndarray
    """What of each move the flow explains. Shape: (rows,). [$]"""


def response(
    move: np.ndarray,
    flow: np.ndarray,
    weight: np.ndarray,
    new: np.ndarray,
    block: np.ndarray,
    slice_length: float,
    permanent: float | None = None,
) -> Response:
    """Least squares of the propagator γ + κ e^{−ρ k Δ}, in the mid's moves.

        S_{t+1} − S_t = γ q_t + I_{t+1} − I_t + noise,   I_{t+1} = e^{−ρΔ} (I_t + κ q_t)

    Bouchaud, Gefen, Potters & Wyart (2004), "Fluctuations and response in financial markets", with the exponential
    kernel of Obizhaeva & Wang (2013); each move weighted by the inverse of its standard deviation.

    Args:
        move: of the mid to the next slice; NaN before a gap. [$]
        flow: q. [shares]
        weight: inverse standard deviation of a move, up to a factor.
        new: whether a slice comes after a gap.
        block: for the standard errors.
        slice_length: Δ. [day]
        permanent: γ where it is known from elsewhere; None: it is estimated.
    """
    known = np.isfinite(move)
    w = weight[known]
    given = 0.0 if permanent is None else permanent
    y = (move - given * flow)[known] * w
    edges = [*np.flatnonzero(new), len(flow)]

    def pushes(rho: float) -> tuple[np.ndarray, np.ndarray]:
        """I_t and I_{t+1} for κ = 1."""
        decay = np.exp(-rho * slice_length)
        before, after = np.zeros(len(flow)), np.zeros(len(flow))
        for first, end in itertools.pairwise(edges):
            after[first:end] = lfilter([decay], [1.0, -decay], flow[first:end])
            before[first + 1 : end] = after[first : end - 1]
        return before, after

    def pushed(rho: float) -> np.ndarray:
        before, after = pushes(rho)
        return after - before

    def design(rho: float) -> np.ndarray:
        columns = [pushed(rho)] if permanent is not None else [pushed(rho), flow]
        return np.stack(columns, 1)[known] * w[:, None]

    def loss(log_rho: float) -> float:
        x = design(np.exp(log_rho))
        return float(((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2).sum())

    # From a time constant of eight times the longest stretch to half a slice.
    longest = max(np.diff(edges)) * slice_length
    low, high = np.log(0.125 / longest), np.log(2 / slice_length)
    grid = np.linspace(low, high, 25)
    best = int(np.argmin([loss(x) for x in grid]))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, 24)])
    rho = float(np.exp(minimize_scalar(loss, bounds=around, method="bounded").x))
    x = design(rho)
    fitted = np.linalg.lstsq(x, y, rcond=None)[0]
    kappa = float(fitted[0])
    gamma = given if permanent is not None else float(fitted[1])
    by_rho = kappa * (pushed(rho * 1.001) - pushed(rho / 1.001))[known] * w / (rho * 0.002)
    jacobian = np.column_stack([by_rho, x])
    residual = y - x @ fitted
    scale = np.sqrt((jacobian**2).sum(0))
    scale[scale == 0] = 1.0
    covariance = sandwich(jacobian / scale, residual, block[known]) / np.outer(scale, scale)
    errors = np.sqrt(np.diag(covariance))
    return Response(
        permanent=Estimate(gamma, float(errors[2]) if permanent is None else 0.0),
        transient=Estimate(kappa, float(errors[1])),
        resilience=Estimate(rho, float(errors[0]) if kappa > 0 else float("inf")),
        curve=_curve(move, flow, new, block, lambda k: gamma + kappa * np.exp(-rho * slice_length * k)),
        explained=1 - float((residual**2).sum() / ((move[known] * w) ** 2).sum()),
        passing=kappa * pushes(rho)[0],
        fitted=gamma * flow + kappa * pushed(rho),
    )


def _curve(
    move: np.ndarray, flow: np.ndarray, new: np.ndarray, block: np.ndarray, fitted: Callable[[int], float]
) -> list[tuple[int, Estimate, float]]:
    """Response at each lag by regression on the flow of all slices in between, the last one's coefficient."""
    session = np.cumsum(new)
    path = np.nan_to_num(move)
    total = np.r_[0.0, np.cumsum(path)]
    found = []
    for lag in LAGS:
        n = len(flow) - lag
        if n < 10 * lag:
            break
        same = session[lag:] == session[:n]
        y = (total[lag : lag + n] - total[:n])[same]
        x = np.stack([flow[j : j + n] for j in range(lag)], 1)[same]
        if len(y) <= 2 * lag or not np.any(x):
            break
        coefficients = np.linalg.lstsq(x, y, rcond=None)[0]
        covariance = sandwich(x / np.std(flow), y - x @ coefficients, block[:n][same]) / np.var(flow)
        estimate = Estimate(float(coefficients[0]), float(covariance[0, 0] ** 0.5))
        found.append((lag, estimate, float(fitted(lag))))
    return found


def temporary_by_walk(
    slope: np.ndarray, size: np.ndarray, volume: np.ndarray, block: np.ndarray, delta: Estimate, part: float
) -> Estimate:
    """η/Δ where there are books: the mean slope of taking a slice's shares from the book at once. [$/share per share]

    It holds for slices of this length: what refills within a slice is not counted.

    Args:
        slope: of the concession slope · v^δ. [$/share per share^δ]
        size: log of the shares that it is felt at.
        volume: of each slice. [shares]
        block: for the standard errors.
        delta: δ, whose error is part of that of η.
        part: reference participation.
    """
    known = np.isfinite(slope)
    sums = np.stack([np.where(known, slope, 0.0), known, volume, np.ones(len(slope))], 1)
    power = delta.value - 1.0
    found = jackknife(sums, block, lambda s: s[0] / max(s[1], 1.0) * (part * s[2] / s[3]) ** power)
    return _beside(found, delta, np.where(known, slope, 0.0), size - np.log(part * volume.mean()))


def _beside(found: Estimate, delta: Estimate, weight: np.ndarray, distance: np.ndarray) -> Estimate:
    """η with the error of δ in its own: the farther from the reference trades are, in logs, the more it matters."""
    mean = float((weight * distance).sum() / max(weight.sum(), 1e-300))
    return Estimate(found.value, float(np.hypot(found.error, found.value * mean * delta.error)))


def temporary_by_cost(
    cost: np.ndarray,
    flow: np.ndarray,
    impact: np.ndarray,
    volume: np.ndarray,
    block: np.ndarray,
    delta: Estimate,
    part: float,
) -> Estimate:
    """η/Δ where there are trades: takers' cost beyond the touch per share of net flow, on that flow.

    cost / |q| = (η/Δ) · impact · reference^(1 − δ) |q|^δ, through the origin, with impact the factor's part of the
    market's; arguments as of ``temporary_by_walk``. The cost is against the mid at the slice's start, so it is what an
    order worked over the slice pays; Almgren et al. (2005), equation (4). [$/share per share]
    """
    q = np.where(flow == 0, 1.0, np.abs(flow))
    x, y = np.where(flow == 0, 0.0, impact * q**delta.value), np.where(flow == 0, 0.0, cost / q)
    # The factor over its mean in the sample, and the mean volume, which so add their own luck to the error.
    sums, power = np.stack([x * y, x * x, impact, volume, np.ones(len(x))], 1), delta.value - 1.0
    found = jackknife(sums, block, lambda s: s[0] / s[1] * s[2] / s[4] * (part * s[3] / s[4]) ** power)
    return _beside(found, delta, x * x, np.log(q / (part * volume.mean())))


def exponent_by_walk(slices: Slices, block: np.ndarray) -> Estimate | None:
    """δ in concession ∝ shares^δ, from the levels of books; None where there are none."""
    frame = slices.frame
    if "walk_xx" not in frame or not frame["walk_xx"].sum() > 0:
        return None
    return jackknife(frame[["walk_xy", "walk_xx"]].to_numpy(), block, lambda s: s[0] / max(s[1], 1e-300))


def exponent_by_cost(slices: Slices, impact: np.ndarray, block: np.ndarray) -> Estimate | None:
    """δ from takers' costs; None where they are not known."""
    frame = slices.frame
    if "cost" not in frame:
        return None
    q = np.abs(frame["flow"].to_numpy())
    traded = q > 0
    if not traded.any():
        return None
    q, block, factor = q[traded] / np.median(q[traded]), block[traded], impact[traded]
    y = frame["cost"].to_numpy()[traded] / np.abs(frame["flow"].to_numpy()[traded])

    def at(delta: float) -> tuple[float, float]:
        x = factor * q**delta
        a = float((x * y).sum() / (x * x).sum())
        return a, float(((y - a * x) ** 2).sum())

    delta = float(minimize_scalar(lambda d: at(d)[1], bounds=(0.0, 2.0), method="bounded").x)
    a = at(delta)[0]
    x = factor * q**delta
    jacobian = np.stack([x, a * x * np.log(q)], 1)
    return Estimate(delta, float(sandwich(jacobian, y - a * x, block)[1, 1] ** 0.5))
