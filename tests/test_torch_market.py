"""The market on a torch device: the same costs as NumPy, gradients that finite differences confirm."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from exec_env import ActionMode, Market, Order
from exec_env.harness import evaluate
from exec_env.presets import PRESETS
from exec_env.tape import Tape
from exec_env.torch_market import TorchMarket, compile_or_not

PACE, FRACTION = ActionMode("pace"), ActionMode("fraction")


def twap(observations: torch.Tensor) -> torch.Tensor:
    return torch.full((len(observations),), 4)


class Linear(torch.nn.Module):
    """A small smooth policy."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weights = torch.nn.Parameter(0.05 * torch.randn(10, generator=generator, dtype=dtype))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return 0.2 + 0.1 * torch.tanh(observations @ self.weights)


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_the_same_paths_cost_the_same_as_in_numpy(preset: str, side: Any) -> None:
    market, order = PRESETS[preset].market, replace(PRESETS[preset].order, side=side)
    device = TorchMarket(market, order, dtype=torch.float64)
    tape = Tape.simulate(market, order, 50, seed=3)
    costs = device.costs(twap, device.load(tape), PACE)
    table = evaluate(["twap"], episodes=50, seed=3, preset=preset, side=side).per_path
    np.testing.assert_allclose(costs.objective, table["objective"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(costs.shortfall, table["shortfall"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(costs.risk, table["risk"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(costs.shares_left, table["shares_left"], rtol=1e-9, atol=1e-6)


def test_single_precision_costs_nearly_the_same() -> None:
    tape = Tape.simulate(Market(), Order(), 200, seed=0)
    policy = Linear()
    exact = TorchMarket(Market(), Order(), dtype=torch.float64)
    single = TorchMarket(Market(), Order())
    wanted = exact.costs(policy, exact.load(tape), FRACTION).objective
    found = single.costs(policy.float(), single.load(tape), FRACTION).objective
    np.testing.assert_allclose(found.detach(), wanted.detach(), rtol=2e-4)


def test_simulated_paths_have_the_law_of_numpys() -> None:
    market = TorchMarket(Market(), Order())
    costs = market.costs(twap, market.simulate(20_000, market.generator(0)), PACE).objective.numpy()
    table = evaluate(["twap"], episodes=20_000, seed=1).per_path["objective"]
    error = np.hypot(costs.std() / 20_000**0.5, table.std() / 20_000**0.5)
    assert abs(float(costs.mean()) - table.mean()) < 4 * error
    assert float(costs.std()) == pytest.approx(table.std(), rel=0.05)


def test_the_same_seed_gives_the_same_paths() -> None:
    market = TorchMarket(Market(), Order())
    one, again, other = (market.simulate(4, market.generator(seed)).slices.volume for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_gradients_of_the_policy_are_those_of_finite_differences() -> None:
    market, policy = TorchMarket(Market(), Order(n_steps=5), dtype=torch.float64), Linear()
    tape = market.simulate(20, market.generator(0))

    def cost() -> torch.Tensor:
        return market.costs(policy, tape, FRACTION).objective.mean()

    cost().backward()
    gradient = policy.weights.grad
    assert gradient is not None
    for i in range(10):
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                policy.weights[i] += step
                values.append(float(cost()))
                policy.weights[i] -= step
        assert float(gradient[i]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    "name",
    [
        "temporary_impact",
        "permanent_impact",
        "transient_impact",
        "resilience",
        "half_spread",
        "volatility",
        "liquidity_volatility",
        "spread_noise",
        "daily_volume",
    ],
)
def test_gradients_reach_the_parameters_of_the_market(name: str) -> None:
    base = float(getattr(Market(), name))

    def cost(value: Any) -> Any:
        market = TorchMarket(replace(Market(), **{name: value}), Order(n_steps=6), dtype=torch.float64)
        tape = market.simulate(30, market.generator(0))
        return market.costs(lambda observations: torch.full((30,), 2), tape, PACE).objective.mean()

    parameter = torch.tensor(base, dtype=torch.float64, requires_grad=True)
    cost(parameter).backward()
    step = 1e-5 * base
    difference = (cost(base + step) - cost(base - step)) / (2 * step)
    assert float(parameter.grad) == pytest.approx(float(difference), rel=1e-4)  # type: ignore[arg-type]


def test_continuous_actions_beyond_the_space_are_clipped_to_it() -> None:
    market = TorchMarket(Market(), Order(max_participation=None), dtype=torch.float64)
    tape = market.simulate(3, market.generator(0))
    all_at_once = market.costs(lambda observations: torch.full((3,), 7.0), tape, FRACTION)
    exactly = market.costs(lambda observations: torch.ones(3), tape, FRACTION)
    assert torch.equal(all_at_once.objective, exactly.objective)
    assert (all_at_once.shares_left == 0).all()


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(ValueError, match="device = 'toaster': not to be had here"):
        TorchMarket(Market(), Order(), device="toaster")


def test_where_compiling_fails_the_function_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any) -> Any:
        def call(*args: Any) -> Any:
            raise RuntimeError("no compiler\nat all")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    double = compile_or_not(lambda x: 2 * x)
    with pytest.warns(UserWarning, match="torch.compile does not work here: no compiler"):
        assert double(3) == 6
    with warnings.catch_warnings(action="error"):
        assert double(4) == 8
