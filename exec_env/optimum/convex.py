"""Convex programs over shares that add up to one: a primal-dual interior-point method.

    minimise  l'y + ½ y'Qy + Σ_i c_i (a_i'y)^p   over  Σ y = 1, 0 ≤ y ≤ upper

Source: Boyd & Vandenberghe (2004), "Convex Optimization", section 11.7.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from exec_env.base.errors import NoBound

_MOST = 100  # iterations; some twenty are enough
_GAP = 1e-14  # duality gap over the size of the objective
_CENTRING = 0.1  # part of the gap that each iteration aims for
_TO_EDGE = 0.995  # part of the way to the edge that a step may go
_SMALL = 1e-12
_ROUNDING = 1e-15
_NOT_CONVEX = "no optimum: the cost of fixed schedules is not convex, so that trading ever more unevenly pays"


class NotConvex(NoBound):
    """The program is not convex: it may have no least point, or many."""


@dataclass(frozen=True)
class Program:
    """A program as of the module. Shape of arrays: (n,), (n, n), (m,), (m, n) and (n,)."""

    linear: np.ndarray
    quadratic: np.ndarray
    """Q, symmetric."""
    coefficients: np.ndarray
    """c, not negative."""
    arguments: np.ndarray
    """a."""
    power: float
    """p, above one."""
    upper: np.ndarray
    """Infinite where there is no upper limit; where all are limited, more than one together."""

    def scaled(self, by: float) -> "Program":
        """The same times a number."""
        scaled = {name: by * getattr(self, name) for name in ("linear", "quadratic", "coefficients")}
        return replace(self, **scaled)

    def size(self, y: np.ndarray) -> float:
        """How large the terms of the objective are."""
        terms = np.abs(self.linear) @ y + np.abs(self.quadratic @ y) @ y / 2
        return float(terms + self.coefficients @ (self.arguments @ y) ** self.power) + 1e-300

    def value(self, y: np.ndarray) -> float:
        """The objective."""
        powers = self.coefficients @ np.maximum(self.arguments @ y, 0.0) ** self.power
        return float(self.linear @ y + y @ self.quadratic @ y / 2 + powers)

    def gradient(self, y: np.ndarray) -> np.ndarray:
        """Its gradient."""
        marginal = self.power * self.coefficients * np.maximum(self.arguments @ y, 0.0) ** (self.power - 1)
        return self.linear + self.quadratic @ y + self.arguments.T @ marginal

    def hessian(self, y: np.ndarray) -> np.ndarray:
        """Its second derivatives, where y > 0."""
        if self.power == 2.0:
            return self.quadratic + 2 * (self.arguments.T * self.coefficients) @ self.arguments
        z = self.arguments @ y
        second = self.power * (self.power - 1) * self.coefficients * z ** (self.power - 2)
        return self.quadratic + (self.arguments.T * second) @ self.arguments


def check(program: Program) -> None:
    """Refuse a quadratic program that is not strictly convex, which the barrier of ``minimise`` might hide.

    Raises:
        NotConvex: where the objective has no curvature, or a negative one, in some direction that keeps the sum.
    """
    if program.power != 2.0:
        return
    across = _across(program.hessian(program.linear), 0)
    pivots = np.diag(_factor(across / (np.abs(across).max() or 1.0))[0]) ** 2
    if pivots.min() <= _ROUNDING * pivots.max():
        raise NotConvex(_NOT_CONVEX)


def minimise(program: Program) -> np.ndarray:
    """The least point. Shape: (n,).

    Raises:
        NotConvex: where that is found out on the way, as with other powers than two; see ``check``.
    """
    n, free = len(program.linear), np.isinf(program.upper)
    y = np.minimum(1 / n, program.upper / 2)
    y = np.where(free, y + (1 - y.sum()) / free.sum(), y) if free.any() else program.upper / program.upper.sum()
    program = program.scaled(1 / program.size(y))
    # Prices of the limits, low and high: zero where there is no upper one.
    low, high, count = 1 / (n * y), np.where(free, 0.0, 1 / (n * (program.upper - y))), n + (~free).sum()
    second = program.hessian(y)
    for _ in range(_MOST):
        room = program.upper - y
        gap = y @ low + room[~free] @ high[~free]
        if gap < _GAP:
            break
        target = _CENTRING * gap / count
        k = int(np.minimum(y, room).argmax())  # far from its limits: it gives what the others take
        if program.power != 2.0:
            second = program.hessian(y)
        right = _towards(program, y, k, target / y, np.where(free, 0.0, target / room))
        moves = cho_solve(_factor(_across(second + np.diag(low / y + high / room), k)), right)
        dy = np.insert(moves, k, -moves.sum())
        d_low = target / y - low - low / y * dy
        d_high = np.where(free, 0.0, target / room - high + high / room * dy)
        step = _longest([(y, dy), (low, d_low), (high[~free], d_high[~free]), (room[~free], -dy[~free])])
        y, low, high = y + step * dy, low + step * d_low, high + step * d_high
    else:
        raise NotConvex(_NOT_CONVEX)
    y = y / y.sum()
    if free.all() and program.power != 2.0:
        _check_least(program, y)
    return y


def _check_least(program: Program, y: np.ndarray) -> None:
    """Refuse a point beside which fewer shares, all the same, are lower: it is one of many that are low."""
    n = len(y)
    for k in [*2 ** np.arange(int(np.log2(n)) + 1), n]:
        if program.value((np.arange(n) < k) / k) < program.value(y) - _SMALL:
            raise NotConvex(_NOT_CONVEX)


def _towards(program: Program, y: np.ndarray, k: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Descent that is left at these prices of the limits, where share ``k`` gives what the others take."""
    slope = program.gradient(y) - low + high
    return slope[k] - np.delete(slope, k)


def _across(matrix: np.ndarray, k: int) -> np.ndarray:
    """A form of all shares as one of all but ``k``, which gives what the others take."""
    rest = np.delete(np.delete(matrix, k, 0), k, 1)
    row, column = np.delete(matrix[k], k), np.delete(matrix[:, k], k)
    return rest - row - column[:, None] + matrix[k, k]


def _longest(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """The longest step, at most one, that keeps what is positive positive."""
    ratios = [(-value[d < 0] / d[d < 0]).min(initial=np.inf) for value, d in pairs]
    return float(min(1.0, _TO_EDGE * min(ratios)))


def _factor(matrix: np.ndarray) -> tuple[np.ndarray, bool]:
    """Cholesky factor of a positive matrix."""
    try:
        return cho_factor(matrix, lower=True)
    except np.linalg.LinAlgError:
        raise NotConvex(_NOT_CONVEX) from None
