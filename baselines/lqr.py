"""Execution as a linear-quadratic regulator: inventory x' = x − v, cost Σ q x² + r v².

The simplest model of execution: q prices inventory, r prices trading. Every function takes floats, arrays or tensors of
(q, r) pairs, of any shape, and treats them all in one call; gradients flow through the Riccati recursion.

Source: Bertsekas (2017), Dynamic Programming and Optimal Control, volume I, section 3.1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.extras import importing
from exec_env.base.namespace import namespace
from exec_env.base.validation import require, require_count
from exec_env.optimum.lq import minimise


def gain(q: Any, r: Any) -> Any:
    """Share K of the inventory that is sold in each period when there is no deadline.

    P = q + P r / (P + r) has the root P = (q + √(q² + 4 q r)) / 2, and K = P / (P + r).

    Args:
        q: price of inventory, > 0.
        r: price of trading, > 0.

    Shape:
        Whatever q and r broadcast to.

    Raises:
        InputError: when q or r is not positive.

    >>> round(gain(2.5, 0.4), 8)
    0.87695265
    """
    _check(q, r)
    # P / q and r / q, so that nothing is squared that may be large.
    ratio = r / q
    root = namespace(ratio).sqrt(1 + 4 * ratio)
    return (1 + root) / (1 + root + 2 * ratio)


def gains(q: Any, r: Any, n_periods: int) -> Any:
    """Shares sold in each of ``n_periods`` periods when what is left afterwards costs q x² once.

    Shape:
        (..., n_periods) for q and r of shape (...).
    """
    _check(q, r)
    require_count(n_periods=n_periods)
    p = q + 0.0 * r
    like = np.asarray(p) if isinstance(p, float | int) else p
    xp, found = namespace(like), []
    p = like
    for _ in range(n_periods):
        # In (x, v): q x² + r v² + p (x − v)².
        form = xp.stack([xp.stack([q + p, -p], -1), xp.stack([-p, r + p], -1)], -1)
        k, p = minimise(form)
        found.append(k[..., 0])
        p = p[..., 0, 0]
    return xp.stack(found[::-1], -1)


def sells(q: Any, r: Any, n_periods: int, finite: bool = False) -> Any:
    """Fractions of the order sold in each period; by the gain without a deadline, or by the finite-horizon ones.

    Shape:
        (..., n_periods) for q and r of shape (...).

    >>> sells(2.5, 0.4, 3).round(6).tolist()
    [0.876953, 0.107907, 0.013278]
    """
    require_count(n_periods=n_periods)
    if finite:
        k = gains(q, r, n_periods)
    else:
        k = gain(q, r)
        k = np.asarray(k) if isinstance(k, float) else k
        k = namespace(k).stack([k] * n_periods, -1)
    left, out = 1.0, []
    for t in range(n_periods):
        out.append(left * k[..., t])
        left = left - out[-1]
    return namespace(k).stack(out, -1)


@dataclass(frozen=True)
class Tuning:
    """Weights whose schedule is close to a target."""

    q: float
    r: float
    initial_loss: float
    final_loss: float


def tune(
    target: Sequence[float] | np.ndarray,
    q: float = math.exp(-2.0),
    r: float = math.exp(-2.0),
    steps: int = 50,
    rate: float = 0.15,
    turnover_penalty: float = 0.01,
) -> Tuning:
    """Find weights whose inventory follows ``target``, by gradient descent on (log q, log r) through the Riccati root.

    The loss is the mean squared difference of inventory after 0, 1, ..., N periods, plus ``turnover_penalty`` times the
    mean squared sell. Only q / r matters to it, so q r stays what it was.

    Args:
        target: fraction of the order held after 0, 1, ..., N periods. Shape: (N + 1,).
        q: price of inventory to begin with.
        r: price of trading to begin with.
        steps: gradient steps.
        rate: step size.
        turnover_penalty: price of a large sell.

    Raises:
        InputError: when the target holds anything but finite numbers, or q or r is not positive.
        MissingPackage: without torch.
    """
    with importing("tuning of LQR"):
        import torch

    wanted = torch.as_tensor(np.asarray(target, float))
    if wanted.ndim != 1 or len(wanted) < 2 or not bool(torch.isfinite(wanted).all()):
        raise InputError("target: must be a sequence of two or more finite numbers")
    require(0.0, open_low=True, q=q, r=r, rate=rate)
    require(0.0, turnover_penalty=turnover_penalty)
    require_count(0, steps=steps)
    weights = torch.tensor([q, r], dtype=torch.float64).log().requires_grad_()

    def loss() -> torch.Tensor:
        k = gain(*weights.exp())
        held = (1 - k) ** torch.arange(len(wanted))
        return ((held - wanted) ** 2).mean() + turnover_penalty * (k * held[:-1]).square().mean()

    initial = loss().item()
    optimiser = torch.optim.SGD([weights], lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    tuned_q, tuned_r = weights.detach().exp().tolist()
    return Tuning(tuned_q, tuned_r, initial, loss().item())


def _check(q: Any, r: Any) -> None:
    for name, value in (("q", q), ("r", r)):
        if not hasattr(value, "shape"):
            require(0.0, open_low=True, **{name: value})
            continue
        positive = (value > 0) & (abs(value) < float("inf"))
        if not (positive if isinstance(positive, bool) else bool(positive.all())):
            raise InputError(f"{name} = {value!r}: must be finite numbers > 0")
