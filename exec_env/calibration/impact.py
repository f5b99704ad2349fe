"""Impact: what takers pay beyond the touch, and how the price answers to their flow at several lags."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter

from exec_env.base.bootstrap import Z95
from exec_env.base.jackknife import Estimate, jackknife, sandwich
from exec_env.data.ticks import Slices

LAGS = (1, 2, 3, 5, 8, 12, 20)
"""Slices after which the response is shown."""
_GRID = 41  # values of ρ that are tried


@dataclass(frozen=True)
class Response:
    """The price's answer to signed flow."""

    permanent: Estimate
    """γ; where the estimate is negative, the other parameters are estimated with γ = 0. [$/share per share]"""
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
    """Part of each move that the flow explains. Shape: (rows,). [$]"""
    permanent_interval: tuple[float, float] | None = None
    """95 % interval of γ, where it is not that of the estimate and its error. [$/share per share]"""


def response(
    move: np.ndarray,
    flow: np.ndarray,
    weight: np.ndarray,
    new: np.ndarray,
    block: np.ndarray,
    slice_length: float,
) -> Response:
    """Least squares of the propagator γ + κ e^{−ρ k Δ}, in the mid's moves.

        S_{t+1} − S_t = γ q_t + I_{t+1} − I_t + noise,   I_{t+1} = e^{−ρΔ} (I_t + κ q_t)

    Bouchaud, Gefen, Potters & Wyart (2004), "Fluctuations and response in financial markets", with the exponential
    kernel of Obizhaeva & Wang (2013); γ is not negative; each move weighted by the inverse of its standard deviation.

    Args:
        move: of the mid to the next slice; NaN before a gap. [$]
        flow: q. [shares]
        weight: inverse standard deviation of a move, up to a factor.
        new: whether a slice comes after a gap.
        block: for the standard errors.
        slice_length: Δ. [day]
    """
    known = np.isfinite(move)
    w = weight[known]
    y = move[known] * w

    def pushed(rho: float) -> np.ndarray:
        before, after = _pushes(flow, new, rho * slice_length)
        return after - before

    def design(rho: float) -> np.ndarray:
        return np.stack([pushed(rho), flow], 1)[known] * w[:, None]

    def solved(x: np.ndarray) -> np.ndarray:
        fitted = np.linalg.lstsq(x, y, rcond=None)[0]
        return fitted if fitted[1] >= 0 else np.r_[np.linalg.lstsq(x[:, :1], y, rcond=None)[0], 0.0]

    def loss(log_rho: float) -> float:
        x = design(np.exp(log_rho))
        return float(((y - x @ solved(x)) ** 2).sum())

    # From a time constant of eight times the longest stretch to half a slice.
    longest = max(np.diff([*np.flatnonzero(new), len(flow)])) * slice_length
    low, high = np.log(0.125 / longest), np.log(2 / slice_length)
    grid = np.linspace(low, high, _GRID)
    designs = (design(np.exp(x)) for x in grid)
    best, errors = _without_each(designs, y, grid, block[known])
    around = (grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)])
    rho = float(np.exp(minimize_scalar(loss, bounds=around, method="bounded").x))
    x = design(rho)
    fitted = solved(x)
    kappa, gamma = map(float, fitted)
    residual = y - x @ fitted
    seen = kappa > 0 and 0 < best < _GRID - 1
    free = np.linalg.lstsq(x, y, rcond=None)[0]
    return Response(
        permanent=Estimate(float(free[1]), float(errors[2])),
        transient=Estimate(kappa, float(errors[1])),
        resilience=Estimate(rho, rho * float(errors[0]) if seen else float("inf")),
        curve=_curve(move, flow, new, block, lambda k: gamma + kappa * np.exp(-rho * slice_length * k)),
        explained=1 - float((residual**2).sum() / ((move[known] * w) ** 2).sum()),
        passing=kappa * _pushes(flow, new, rho * slice_length)[0],
        fitted=gamma * flow + kappa * pushed(rho),
    )


def lasting(
    move: np.ndarray,
    flow: np.ndarray,
    weight: np.ndarray,
    new: np.ndarray,
    block: np.ndarray,
    slice_length: float,
    resilience: float,
) -> Response:
    """The same where no push that reverts shows: all of the push lasts.

    γ alone takes up what it can of a κ that is there but too weak to show, so its own error would be far too small.
    γ is at most what it is alone, because κ is not negative; it is at least what it is beside a κ of the resilience
    given. Its interval goes from the lower end of both to the upper end of γ alone, and its error is that of the
    interval. A push that reverts more slowly than that resilience counts as permanent.

    Args:
        move: of the mid to the next slice; NaN before a gap. [$]
        flow: q. [shares]
        weight: inverse standard deviation of a move, up to a factor.
        new: whether a slice comes after a gap.
        block: for the standard errors.
        slice_length: Δ. [day]
        resilience: ρ at which κ could be hidden. [1/day]
    """
    known = np.isfinite(move)
    w = weight[known]
    y = move[known] * w
    before, after = _pushes(flow, new, resilience * slice_length)
    both = np.stack([flow, after - before], 1)[known] * w[:, None]

    def fit(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scale = np.sqrt((x**2).mean(0))
        x = x / scale
        coefficients = np.linalg.lstsq(x, y, rcond=None)[0]
        errors = np.sqrt(np.diag(sandwich(x, y - x @ coefficients, block[known])))
        return coefficients / scale, errors / scale

    (gamma,), (error,) = fit(both[:, :1])
    (beside, kappa), (beside_error, kappa_error) = fit(both)
    low, high = min(gamma - Z95 * error, beside - Z95 * beside_error), gamma + Z95 * error
    gamma = float(gamma)
    return Response(
        permanent=Estimate(gamma, float(high - low) / (2 * Z95)),
        transient=Estimate(float(kappa), float(kappa_error)),
        resilience=Estimate(resilience, float("inf")),
        curve=_curve(move, flow, new, block, lambda k: gamma),
        explained=1 - float(((y - gamma * both[:, 0]) ** 2).sum() / (y**2).sum()),
        passing=np.zeros(len(flow)),
        fitted=gamma * flow,
        permanent_interval=(max(float(low), 0.0), max(float(high), 0.0)),
    )


def _pushes(flow: np.ndarray, new: np.ndarray, speed: float) -> tuple[np.ndarray, np.ndarray]:
    """I_t and I_{t+1} for κ = 1 and the decay speed ρ Δ of a slice; each stretch without a gap begins at zero."""
    decay = np.exp(-speed)
    before, after = np.zeros(len(flow)), np.zeros(len(flow))
    for first, end in itertools.pairwise([*np.flatnonzero(new), len(flow)]):
        after[first:end] = lfilter([decay], [1.0, -decay], flow[first:end])
        before[first + 1 : end] = after[first : end - 1]
    return before, after


def _without_each(
    designs: Iterable[np.ndarray], y: np.ndarray, grid: np.ndarray, block: np.ndarray
) -> tuple[int, np.ndarray]:
    """Where on the grid of log ρ least squares are least, and jackknife errors of log ρ and the coefficients.

    The whole fit is done without each block in turn, since a line through the optimum would hide how ρ trades against
    the rest, and with γ of either sign, since what is at a bound would seem to be known.

    Args:
        designs: of each ρ. Shape of each: (rows, k).
        y: shape (rows,).
        grid: log ρ. Shape: (n,).
        block: of each row. Shape: (rows,).
    """
    blocks, block = np.unique(block, return_inverse=True)

    def sums(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        by_block = np.bincount(block, a * b, len(blocks))
        return np.r_[by_block.sum(), by_block.sum() - by_block]

    losses, found = [], []
    for x in designs:
        xx = np.stack([np.stack([sums(a, b) for a in x.T], -1) for b in x.T], -1)
        xy = np.stack([sums(a, y) for a in x.T], -1)
        coefficients = (np.linalg.pinv(xx, hermitian=True) @ xy[..., None])[..., 0]
        losses.append(sums(y, y) - (coefficients * xy).sum(-1))
        found.append(np.column_stack([np.full(len(xy), 0.0), coefficients]))
    loss, at = np.stack(losses), np.stack(found)
    at[..., 0] = grid[:, None]
    # A parabola through the least and its neighbours, and each coefficient on it.
    every = np.arange(loss.shape[1])
    best = loss.argmin(0)
    # One parabola for all where it can be: from one to the next there is a step.
    i = np.clip(np.where(np.abs(best - best[0]) <= 1, best[0], best), 1, len(grid) - 2)
    left, mid, right = (loss[i + j, every] for j in (-1, 0, 1))
    bend = np.maximum(left - 2 * mid + right, 1e-300)
    p = np.clip((left - right) / (2 * bend), -1.5, 1.5)[:, None]
    weights = (p * (p - 1) / 2, 1 - p * p, p * (p + 1) / 2)
    replicates = sum(weight * at[i + j, every] for weight, j in zip(weights, (-1, 0, 1), strict=True))
    without = replicates[1:]
    n = len(without)
    return int(best[0]), np.sqrt((n - 1) / n * ((without - without.mean(0)) ** 2).sum(0))


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
        size = np.mean(flow**2)
        covariance = sandwich(x / size**0.5, y - x @ coefficients, block[:n][same]) / size
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
    found = jackknife(sums, block, lambda s: s[0] / max(s[1], 1.0) * (part * max(s[2], 1e-300) / s[3]) ** power)
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
    found = jackknife(
        sums, block, lambda s: s[0] / max(s[1], 1e-300) * s[2] / s[4] * (part * max(s[3], 1e-300) / s[4]) ** power
    )
    return _beside(found, delta, x * x, np.log(q / (part * volume.mean())))


def exponent_by_walk(slices: Slices, block: np.ndarray) -> Estimate | None:
    """δ in concession ∝ shares^δ, from the levels of books; None where there are none."""
    frame = slices.frame
    if "walk_xx" not in frame or not frame["walk_xx"].sum() > 0:
        return None
    return jackknife(frame[["walk_xy", "walk_xx"]].to_numpy(), block, lambda s: s[0] / max(s[1], 1e-300))


def exponent_by_cost(slices: Slices, impact: np.ndarray, block: np.ndarray) -> Estimate | None:
    """δ from takers' costs; None where they are not known, or all of one net flow."""
    frame = slices.frame
    if "cost" not in frame:
        return None
    q = np.abs(frame["flow"].to_numpy())
    traded = q > 0
    if not traded.any() or np.ptp(np.log(q[traded])) < 1e-3:
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
