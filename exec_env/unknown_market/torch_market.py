"""The unknown market on a torch device: other paths, and else what ``exec_env.one_asset.torch_market`` has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from exec_env.market.paths import Normals, Paths, mapped
from exec_env.one_asset.torch_market import TorchMarket
from exec_env.unknown_market.paths import DRAWN

if TYPE_CHECKING:  # the problem makes this market
    from exec_env.unknown_market.problem import UnknownMarket


class UnknownTorchMarket(TorchMarket):
    """Orders in an unknown market, of tensors.

    Args:
        problem: the orders and their market.
        device: torch device.
        dtype: of all tensors.
    """

    def __init__(self, problem: UnknownMarket, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        super().__init__(problem.market, problem.order, device, dtype)
        self._problem, self._source = problem, problem.source

    def simulate(self, n_paths: int, generator: torch.Generator) -> Paths:
        """Draw paths. Columns have shape (n_paths, n_steps)."""
        source, names = self._source, Normals.used(self.market)
        like: dict[str, Any] = {"device": self.device, "dtype": self.dtype, "generator": generator}
        z = torch.randn((n_paths, len(DRAWN) if source.spread > 0 else 0), **like)
        size = (len(names), n_paths * source.orders, self.order.n_steps)
        factors = torch.randn(size, **like)
        return source.shaped(z, Normals(**dict(zip(names, factors, strict=True))))

    def load(self, paths: Paths) -> Paths:
        """Paths of NumPy arrays as tensors of the device."""

        def tensor(column: object) -> torch.Tensor:
            return torch.tensor(column, dtype=self.dtype, device=self.device)

        return Paths(mapped(paths.slices, tensor), tensor(paths.arrival_price))  # type: ignore[arg-type]
