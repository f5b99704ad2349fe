"""The best trades on paths that are known in advance: a convex program for each path, with a certificate.

On a path the inventory x and the push I follow from the trades, x' = x − v and I' = d (I + κ v), and the cost is

    Σ_t q_t (v_t − a_t x_t − b_t I_t − c_t)² − A_t (x_t − v_t) − B_t (I_t + κ v_t) + constant,

to be made least over 0 ≤ v_t ≤ m_t and Σ v ≤ 1. It is a convex quadratic program, solved by the primal-dual interior
point method of Mehrotra (1992), "On the implementation of a primal-dual interior point method". The Newton steps are
linear-quadratic control in (x, I), so that a backward recursion finds each in O(n_steps), for all paths at once.

Where temporary impact is a power law (``PowerLaw``), what it costs beyond linear impact comes on top. The program is
then convex where liquidity is not random, or hardly; where it is not convex, it is refused.

The certificate does not trust the method. A convex f lies above its tangent, so that for any feasible v

    least f ≥ f(v) − max { ∇f(v)·(v − s) : s feasible },

which is the gap of Frank & Wolfe (1956). The maximum is a fractional knapsack: fill the cheapest slices first.
"""

from typing import Any, NamedTuple

import numpy as np

from exec_env.base.errors import NoBound

ITERATIONS = 40
"""Most Newton steps; few paths take more than twenty."""
_TOLERANCE = 1e-9  # of the objective: a gap that is not worth another step
_SMALL = 1e-9  # part of the order; of a smaller trade, curvature is infinite where δ < 1
_ROUNDING = 1e-9  # of a pivot
_STEP = 0.99  # part of the way to the nearest constraint


class PowerLaw(NamedTuple):
    """What temporary impact costs beyond linear impact: slope · (v^(1 + δ) − even^(δ − 1) v²) each slice.

    In the last slice it is that of all that is left, x, and ``penalty`` times that of the block x − v. The quadratic
    part of the former takes ``mean_last`` for the slope: the difference has mean zero for who does not look ahead.
    """

    slope: np.ndarray
    """Shape: (n_steps, n_paths)."""
    exponent: float
    """δ."""
    even: float
    """Trade at which both impacts concede the same, as a part of the order."""
    penalty: float
    """``Order.terminal_penalty`` less one."""
    mean_last: np.ndarray
    """Slope of the last slice as it was expected before: what is linear in it, of all that is left. Were it the slope
    itself, the program would not be convex on paths that end in poor liquidity. Shape: (n_paths,)."""

    def value(self, trades: np.ndarray) -> np.ndarray:
        """Of all slices. Shape: (n_steps, n_paths) -> (n_paths,)."""
        left, block = _left(trades)
        earlier = (self.slope[:-1] * self._cost(trades[:-1])).sum(0)
        last = self.slope[-1] * (left ** (1 + self.exponent) + self.penalty * self._cost(block))
        last = last - self.mean_last * self.even ** (self.exponent - 1) * left**2
        return earlier + last

    def gradient(self, trades: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives in what is left for the last slice, and in each trade. Shape: (n_paths,), (n_steps, n_paths)."""
        left, block = _left(trades)
        of_block = self.penalty * self.slope[-1] * self._marginal(block)
        out = self.slope * self._marginal(trades)
        out[-1] = -of_block
        of_left = self.slope[-1] * (1 + self.exponent) * left**self.exponent
        return of_left - 2 * self.mean_last * self.even ** (self.exponent - 1) * left + of_block, out

    def hessian(self, trades: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Second derivatives: in what is left, in the block, and in each trade, the last by way of the block."""
        return self._hessian(trades, *_left(trades))

    def least_hessian(self, most: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``hessian`` where each is least: at the largest trades where δ < 1, at none where δ > 1."""
        one = np.full(most.shape[1], float(self.exponent < 1))
        return self._hessian(most * one, one, one)

    def _hessian(
        self, trades: np.ndarray, left: np.ndarray, block: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        of_block = self.penalty * self.slope[-1] * self._curvature(block)
        out = self.slope * self._curvature(trades)
        out[-1] = of_block
        of_left = (1 + self.exponent) * self.exponent * np.maximum(left, _SMALL) ** (self.exponent - 1)
        of_left = self.slope[-1] * of_left - 2 * self.mean_last * self.even ** (self.exponent - 1)
        return of_left, of_block, out

    def _cost(self, v: np.ndarray) -> np.ndarray:
        return v ** (1 + self.exponent) - self.even ** (self.exponent - 1) * v**2

    def _marginal(self, v: np.ndarray) -> np.ndarray:
        return (1 + self.exponent) * v**self.exponent - 2 * self.even ** (self.exponent - 1) * v

    def _curvature(self, v: np.ndarray) -> np.ndarray:
        power = (1 + self.exponent) * self.exponent * np.maximum(v, _SMALL) ** (self.exponent - 1)
        return power - 2 * self.even ** (self.exponent - 1)


def _left(trades: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left for the last slice, and after its trade; rounding does not make it negative."""
    left = np.maximum(1.0 - trades[:-1].sum(0), 0.0)
    return left, np.maximum(left - trades[-1], 0.0)


class Program(NamedTuple):
    """The convex programs of paths, side by side. Trades are parts of the order.

    Shape:
        (n_steps, n_paths) of each, if nothing else is said.
    """

    curvature: np.ndarray
    """q."""
    of_held: np.ndarray
    """a: wanted trade per unit of inventory."""
    of_push: np.ndarray
    """b: wanted trade per unit of push."""
    wanted: np.ndarray
    """c: wanted trade apart from these."""
    held_price: np.ndarray
    """A: what a unit that is held after the trade is credited."""
    push_price: np.ndarray
    """B: what a unit of push after the trade is credited."""
    constant: np.ndarray
    """Shape: (n_paths,)."""
    decay: np.ndarray
    """d: part of the push that survives the slice."""
    push: float
    """κ: push per unit traded."""
    most: np.ndarray
    """m: most that may be traded."""
    power: PowerLaw | None = None
    """What is not linear in temporary impact."""

    def value(self, trades: np.ndarray) -> np.ndarray:
        """Cost of trades. Shape: (n_steps, n_paths) -> (n_paths,)."""
        return self._forward(trades)[0]

    def gradient(self, trades: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cost of trades and its derivative in each. Shape: (n_paths,), (n_steps, n_paths)."""
        value, beyond = self._forward(trades)
        marginal = 2 * self.curvature * beyond
        direct = marginal + self.held_price - self.push * self.push_price
        held, push, out = 0.0, 0.0, np.empty_like(trades)
        of_left, of_trade = self.power.gradient(trades) if self.power else (0.0, np.zeros_like(trades))
        direct = direct + of_trade
        for t in reversed(range(len(trades))):
            surviving = self.decay[t] * push
            out[t] = direct[t] - held + self.push * surviving
            held = held - marginal[t] * self.of_held[t] - self.held_price[t] + of_left
            of_left = 0.0
            push = surviving - marginal[t] * self.of_push[t] - self.push_price[t]
        return value, out

    def certificate(self, trades: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Most that the least cost can be below that of feasible ``trades``. Shape: (n_paths,)."""
        order = np.argsort(gradient, 0)
        slope, room = (np.take_along_axis(a, order, 0) for a in (gradient, self.most))
        filled = np.minimum(np.cumsum(np.where(slope < 0, room, 0.0), 0), 1.0)
        least = (slope * np.diff(filled, axis=0, prepend=0.0)).sum(0)
        return np.maximum((gradient * trades).sum(0) - least, 0.0)

    def solve(self, iterations: int = ITERATIONS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Trades that are nearly the best, and an interval for the least cost.

        Returns:
            Feasible trades, shape (n_steps, n_paths); their cost less the certificate, which no feasible trades are
            below, and the certificate, shape (n_paths,).
        """
        if self.power is not None:
            _, pivots = self._newton(0.0 * self.most, 0.0 * self.constant, self.power.least_hessian(self.most))
            if (pivots < -_ROUNDING).any():
                raise NoBound(
                    "impact is a power law, and liquidity so random that the problem of who knows a path is not convex"
                )
        most, n = self.most, 2 * len(self.most) + 1
        trades = most * np.minimum(0.5, 0.9 / most.sum(0))
        slack = _Triple(trades, most - trades, 1.0 - trades.sum(0))
        _, slope = self.gradient(trades)
        start = np.maximum(np.abs(slope * trades).mean(0), _TOLERANCE)
        dual = _Triple(*(start / s for s in slack))
        for _ in range(iterations):
            gap = slack.dot(dual)
            if not (gap > _TOLERANCE).any():
                break
            barrier = dual.lower / slack.lower + dual.upper / slack.upper
            hessian = self.power.hessian(slack.lower) if self.power else None
            newton, _ = self._newton(barrier, dual.total / slack.total, hessian)
            # Predictor: straight to the solution; then centred, with the error of that step taken out.
            move = newton(-slope)
            ds = _Triple(move, -move, -move.sum(0))
            dz = _Triple(*(-z - z / s * d for s, z, d in zip(slack, dual, ds, strict=True)))
            reach = np.minimum(_reach(slack, ds), _reach(dual, dz))
            left = slack.plus(ds, reach).dot(dual.plus(dz, reach))
            aim = np.maximum((left / gap) ** 3 * gap, 0.1 * _TOLERANCE) / n
            wish = _Triple(*((aim - d * e) / s for s, d, e in zip(slack, ds, dz, strict=True)))
            move = newton(-slope + wish.lower - wish.upper - wish.total)
            ds = _Triple(move, -move, -move.sum(0))
            dz = _Triple(*(w - z - z / s * d for s, z, d, w in zip(slack, dual, ds, wish, strict=True)))
            reach = np.minimum(1.0, _STEP * np.minimum(_reach(slack, ds), _reach(dual, dz)))
            slack, dual = slack.plus(ds, reach), dual.plus(dz, reach)
            _, slope = self.gradient(slack.lower)
        trades = np.minimum(slack.lower, most)
        trades = trades / np.maximum(trades.sum(0), 1.0)  # of rounding alone
        value, slope = self.gradient(trades)
        certificate = self.certificate(trades, slope)
        return trades, value - certificate, certificate

    def _forward(self, trades: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cost, and trades beyond those wanted."""
        beyond = trades - self.wanted
        held, push, total = 1.0 + 0.0 * self.constant, 0.0 * self.constant, self.constant.copy()
        for t, v in enumerate(trades):
            beyond[t] -= self.of_held[t] * held + self.of_push[t] * push
            held, pushed = held - v, push + self.push * v
            total -= self.held_price[t] * held + self.push_price[t] * pushed
            push = self.decay[t] * pushed
        total = total + (self.curvature * beyond**2).sum(0)
        return total + self.power.value(trades) if self.power else total, beyond

    def _newton(self, barrier: np.ndarray, end: np.ndarray, more: Any) -> tuple[Any, np.ndarray]:
        """Solver of (Hessian + diagonal ``barrier`` + ``end`` · ones) v = right-hand side, by backward recursion.

        ``more`` is the Hessian of ``power``. The second result is the least pivot of each path: the matrix is positive
        where that is. Shape: (n_paths,).
        """
        kappa, gains = self.push, []
        left, block, rest = more or (0.0, 0.0, 0.0)
        barrier = barrier + rest
        xx, xi, ii = end, 0.0 * end, 0.0 * end  # curvature of the cost to go in (x, I)
        for t in reversed(range(len(barrier))):
            d, q2, a, b = self.decay[t], 2 * self.curvature[t], self.of_held[t], self.of_push[t]
            xi, ii = d * xi, d * d * ii
            qa, qb, cross = q2 * a, q2 * b, kappa * ii - xi
            vv = q2 + barrier[t] + xx + kappa * (cross - xi)
            vx, vi = kappa * xi - xx - qa - block, cross - qb
            gx, gi = -vx / vv, -vi / vv
            gains.append((vv, gx, gi))
            xx, xi, ii = xx + qa * a + left + block + vx * gx, xi + qa * b + vx * gi, ii + qb * b + vi * gi
            left = block = 0.0

        def solve(right: np.ndarray) -> np.ndarray:
            px = pi = 0.0 * end
            out = np.empty_like(right)
            for t, (vv, gx, gi) in zip(reversed(range(len(right))), gains, strict=True):
                pi = self.decay[t] * pi
                linear = kappa * pi - px - right[t]
                out[t] = -linear / vv
                px, pi = px + gx * linear, pi + gi * linear
            x = i = 0.0 * end
            for t, (_, gx, gi) in enumerate(reversed(gains)):
                v = out[t] + gx * x + gi * i
                out[t] = v
                x, i = x - v, self.decay[t] * (i + kappa * v)
            return out

        return solve, np.min([vv for vv, _, _ in gains], axis=0)


class _Triple(NamedTuple):
    """Slacks, or multipliers, of v ≥ 0, of v ≤ m and of Σ v ≤ 1."""

    lower: np.ndarray
    upper: np.ndarray
    total: np.ndarray

    def plus(self, other: "_Triple", part: np.ndarray) -> "_Triple":
        return _Triple(*(a + part * b for a, b in zip(self, other, strict=True)))

    def dot(self, other: "_Triple") -> np.ndarray:
        """Sum of products. Shape: (n_paths,)."""
        return (self.lower * other.lower + self.upper * other.upper).sum(0) + self.total * other.total


def _reach(point: _Triple, step: _Triple) -> np.ndarray:
    """How much of ``step`` can be gone until an entry is zero. Shape: (n_paths,)."""
    # The most negative relative step, rather than the least quotient: nothing is divided by zero.
    worst = [(-d / p).max(0) if d.ndim > 1 else -d / p for p, d in zip(point, step, strict=True)]
    return 1.0 / np.maximum(np.maximum(worst[0], worst[1]), np.maximum(worst[2], 1.0))
