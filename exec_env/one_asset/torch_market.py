"""The market on a torch device: paths drawn, rolled out and differentiated there, through the same equations.

What ``market.paths`` and ``envs.rollout`` do on NumPy arrays happens here on tensors of a device, which the
processor does not wait for, but where drawing paths copies what is known beforehand (the times of a stress, a u-shaped
profile, a signal) and where a rollout begins with discrete actions, whose levels it copies. Gradients flow from the
costs back to the policy, and to fields of Market and Order that are tensors.
"""

import textwrap
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from exec_env.base.errors import InputError
from exec_env.envs.problem import Problem
from exec_env.envs.rollout import rollout
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths, shape
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.core import OrderInMarket
from exec_env.one_asset.information import HiddenSource, Information
from exec_env.one_asset.randomise import Ranges

_NUMBERS = (
    *("shock_rate", "signal_reversion", "regime_rate", "regime_recovery", "stress_onset", "stress_onset_end"),
    *("overnight_variance", "night_length", "slice_length", "arrival", "lot_size"),
)
"""Fields that say when something happens, with which paths jump or which are worked out beforehand: no gradients."""

Policy = Callable[[torch.Tensor], torch.Tensor]
"""From observations (n_paths, 10) to actions (n_paths,) or (n_paths, 1)."""


class Costs(NamedTuple):
    """What the executions cost. Shape of each: (n_paths,)."""

    objective: torch.Tensor  # [bps of the arrival notional] what counts for J: no martingale part of the price
    shortfall: torch.Tensor  # [bps of the arrival notional] realised
    risk: torch.Tensor  # [bps of the arrival notional] the part of ``objective`` that is a charge, not a payment
    shares_left: torch.Tensor  # [shares] for the closing block


class TorchMarket:
    """A simulated market on a torch device.

    Args:
        market: fields may be 0-dimensional tensors of the device; gradients flow to all but the rates and times of
            shocks, regimes and stress, nights, and ``signal_reversion``.
        order: likewise, but ``n_steps``, ``slice_length`` and ``arrival``.
        device: torch device.
        dtype: of all tensors. Single precision moves a path's cost by up to about 2e-6 of it.
        ranges: what the market of each path is drawn from; by default all are ``market``.
        features: entries that policies see beside those of ``Observation``.
        information: what is seen of the market; see ``exec_env.one_asset.information``.

    Raises:
        InputError: for a device that is not to be had here, or a tensor that no gradient can flow to.

    >>> market = TorchMarket(Market(), Order())
    >>> paths = market.simulate(1000, market.generator(seed=0))
    >>> twap = lambda observations: torch.full((len(observations),), 4)
    >>> bool(abs(market.costs(twap, paths, ActionMode("pace")).objective.mean() - 24.7) < 1)
    True
    """

    def __init__(
        self,
        market: Market,
        order: Order,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        ranges: Ranges | None = None,
        features: Mapping[str, Callable[[Any], Any]] | None = None,
        information: Information = "full",
    ) -> None:
        self.market, self.order, self.dtype, self.device = market, order, dtype, torch_device(device)
        self.ranges = ranges
        self._problem: Problem = OrderInMarket(market, order, features=features or {}, information=information)
        for part in (market, order):
            for name in _NUMBERS:
                if getattr(getattr(part, name, None), "requires_grad", False):
                    raise InputError(
                        f"{type(part).__name__}.{name} is a tensor that wants a gradient: it must be a number"
                    )
        market.shock_probability(order.slice_length)

    def generator(self, seed: int) -> torch.Generator:
        """A source of random numbers on the device. The same seed gives other numbers on another kind of device."""
        return torch.Generator(self.device).manual_seed(seed)

    def simulate(self, n_paths: int, generator: torch.Generator) -> Paths:
        """Draw paths. Columns have shape (n_paths, n_steps); a slice of all paths is contiguous."""
        names = Normals.used(self.market) if self.ranges is None else self.ranges.used(self.market)
        size = (len(names), self.order.n_steps, n_paths)
        z = torch.randn(size, generator=generator, device=self.device, dtype=self.dtype)
        market = self.market
        if self.ranges is not None:
            own = (n_paths, self.ranges.n_draws)
            own_z = torch.randn(own, generator=generator, device=self.device, dtype=self.dtype)
            market = self.ranges.markets(market, own_z)
        slices = shape(market, self.order, Normals(**{name: z[i].T for i, name in enumerate(names)}))
        price = torch.full((n_paths,), 1.0, device=self.device, dtype=self.dtype) * self.market.arrival_price
        paths = Paths(slices.map(lambda column: _whole(column, n_paths, self.order.n_steps)), price)  # type: ignore[arg-type]
        source = self._problem.source
        return source.seen(paths) if isinstance(source, HiddenSource) else paths

    def load(self, paths: Paths) -> Paths:
        """Paths of NumPy arrays, drawn or recorded, as tensors of the device."""
        slices = paths.slices.map(lambda column: torch.tensor(column.T, dtype=self.dtype, device=self.device).T)
        price = torch.tensor(paths.arrival_price, dtype=self.dtype, device=self.device)
        return Paths(slices, price)  # type: ignore[arg-type]

    def costs(self, policy: Policy, paths: Paths, mode: ActionMode, compiled: bool = False) -> Costs:
        """Execute the order on every path of tensors.

        Args:
            policy: acts on observations of the device. Differentiable in its parameters where the mode is continuous.
            paths: from ``simulate`` or ``load``.
            mode: meaning of the actions. Continuous ones are clipped to their space.
            compiled: whether ``torch.compile`` fuses the arithmetic of a slice: pays for many calls on a GPU.
        """
        totals: list[Any] = [0.0] * len(Costs._fields)
        prepare = compile_or_not if compiled else lambda step: step
        for step in rollout(policy, paths, self._problem, self._problem.actions(mode), prepare):
            fill = step.fill
            now = (fill.objective, fill.shortfall, fill.risk, fill.block)
            totals = [total + cost for total, cost in zip(totals, now, strict=True)]
        to_bps = bps(self._problem.notional(paths.arrival_price))
        objective, shortfall, risk, block = totals
        return Costs(to_bps * objective, to_bps * shortfall, to_bps * risk, block)


def compile_or_not(function: Callable[..., Any]) -> Callable[..., Any]:
    """``torch.compile`` where it works; where it does not, a warning and the function as it is."""
    use = torch.compile(function)

    def call(*args: Any) -> Any:
        nonlocal use
        try:
            return use(*args)
        except Exception as error:  # no compiler, an unsupported device: anything can be missing
            if use is function:
                raise
            warnings.warn(f"torch.compile does not work here: {str(error).splitlines()[0][:200]}", stacklevel=2)
            use = function
            return function(*args)

    return call


def torch_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        InputError: when torch does not know it, or this machine lacks it.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device = {name!r}: not to be had here: torch knows no such device") from None
    try:
        torch.empty(0, device=device)
        torch.Generator(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = textwrap.shorten(str(error).splitlines()[0], 120, placeholder=" ...")
        raise InputError(f"device = {name!r}: not to be had here: {why}") from None
    return device


def _whole(column: Any, n_paths: int, n_steps: int) -> Any:
    """A column of all paths; numbers stay numbers."""
    return column.expand(n_paths, n_steps) if getattr(column, "ndim", 0) else column
