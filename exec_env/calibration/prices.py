"""Volatility, and how it follows liquidity."""

import numpy as np
from scipy.optimize import minimize_scalar

from exec_env.base.jackknife import Estimate, jackknife, sandwich

_SCALE = 12  # slices in one step of the slow scale


def volatility(mid: np.ndarray, session: np.ndarray, block: np.ndarray, slice_length: float) -> Estimate:
    """σ by two scales, to which neither noise of the quotes nor a push that soon reverts adds.

    Var(S_{t+q} − S_t) = 2 ω² + q σ² Δ, with ω the noise, so σ² Δ = (V_K − V_1) / (K − 1): Zhang, Mykland & Aït-Sahalia
    (2005), "A tale of two time scales", section 4, with K = 12 slices, or a quarter of a shorter session.

    Args:
        mid: of each slice. [$]
        session: number of the stretch without a gap. Shape: (rows,).
        block: for the standard error. Shape: (rows,).
        slice_length: Δ. [day]

    Returns:
        σ. [1/√day]
    """
    log = np.log(mid)
    longest = int(np.bincount(session).max())
    slow = max(2, min(_SCALE, longest // 4))
    sums = np.zeros((len(mid), 4))
    for column, lag in ((0, 1), (2, slow)):
        same = session[lag:] == session[:-lag]
        move = log[lag:] - log[:-lag]
        sums[: len(move), column] = np.where(same, move**2, 0.0)
        sums[: len(move), column + 1] = same

    def sigma(total: np.ndarray) -> float:
        fast, n_fast, slower, n_slow = total
        variance = (slower / max(n_slow, 1.0) - fast / max(n_fast, 1.0)) / (slow - 1)
        return float(np.sqrt(max(variance, 0.0) / slice_length))

    return jackknife(sums, block, sigma)


def volatility_of_days(opens: np.ndarray, closes: np.ndarray, block: np.ndarray) -> Estimate:
    """σ by the moves from open to close: the night is no part of a trading day. [1/√day]

    Args:
        opens: of each day. [$]
        closes: the same. [$]
        block: for the standard error. Shape: (rows,).
    """
    squares = np.log(closes / opens) ** 2
    return jackknife(np.stack([squares, np.ones_like(squares)], 1), block, lambda s: float(np.sqrt(s[0] / s[1])))


def elasticity(move: np.ndarray, liquidity: np.ndarray, block: np.ndarray) -> Estimate:
    """c, by squared moves on the smoothed ℓ: E[move²] ∝ exp(2 c ℓ), a gamma regression with log link.

    The regression is on E[ℓ | data], whose error is independent of it, so it is not drawn to zero.

    Args:
        move: of the price from each slice to the next, without what flow explains; NaN before a gap.
        liquidity: E[ℓ | data].
        block: for the standard error.
    """
    same = np.isfinite(move)
    squares, x = move[same] ** 2, liquidity[same]
    if not np.any(squares) or np.std(x) < 1e-6:
        return Estimate(0.0, float("inf"))
    x = x - x.mean()

    def level(b: float) -> float:
        return float((squares * np.exp(-b * x)).mean())

    # Minus the log quasi-likelihood with the level maximised out, convex in b = 2 c.
    b = float(minimize_scalar(lambda b: np.log(level(b)), bounds=(-20.0, 20.0), method="bounded").x)
    residual = squares * np.exp(-b * x) / level(b) - 1
    covariance = sandwich(np.column_stack([x, np.ones_like(x)]), residual, block[same])
    return Estimate(b, float(covariance[0, 0] ** 0.5)).scaled(0.5)
