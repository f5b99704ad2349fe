"""The market on a torch device: the same costs as NumPy, gradients that finite differences confirm."""

import warnings
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from exec_env import ActionMode, Market, Order
from exec_env.harness import evaluate
from exec_env.market.paths import Paths
from exec_env.one_asset.presets import PRESETS
from exec_env.one_asset.torch_market import TorchMarket, compile_or_not

PACE, FRACTION = ActionMode("pace"), ActionMode("fraction")


def twap(observations: torch.Tensor) -> torch.Tensor:
    return torch.full((len(observations),), 4)


class EveryLevel:
    """Every path at a level of its own; of arrays and of tensors."""

    def __init__(self, mode: str) -> None:
        self.action_mode = ActionMode(mode)

    def act(self, observations: Any) -> Any:
        levels = np.arange(len(observations)) % 11
        return torch.tensor(levels) if isinstance(observations, torch.Tensor) else levels


class Linear(torch.nn.Module):
    """A small smooth policy."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weights = torch.nn.Parameter(0.05 * torch.randn(10, generator=generator, dtype=dtype))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return 0.2 + 0.1 * torch.tanh(observations @ self.weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "mode"), [*((name, "pace") for name in PRESETS), ("default", "participation-levels")]
)
@pytest.mark.usefixtures("same_stream")
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_the_same_paths_cost_the_same_as_in_numpy(preset: str, mode: str, side: Any) -> None:
    market, order = PRESETS[preset].market, replace(PRESETS[preset].order, side=side)
    device, agent = TorchMarket(market, order, dtype=torch.float64), EveryLevel(mode)
    paths = Paths.simulate(market, order, 55, seed=3)
    costs = device.costs(agent.act, device.load(paths), agent.action_mode)
    table = evaluate([agent], episodes=55, seed=3, preset=preset, side=side).per_path
    np.testing.assert_allclose(costs.objective, table["objective"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(costs.shortfall, table["shortfall"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(costs.risk, table["risk"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(costs.shares_left, table["shares_left"], rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("mode", ["pace", "fraction"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_costs_have_the_precision_of_the_market_whatever_that_of_the_actions_is(mode: str, dtype: torch.dtype) -> None:
    market = TorchMarket(Market(), Order(n_steps=4), dtype=dtype)
    actions = torch.ones(3, dtype=torch.uint8 if mode == "pace" else torch.float64)
    costs = market.costs(lambda _: actions, market.simulate(3, market.generator(0)), ActionMode(mode))
    assert {column.dtype for column in costs} == {dtype}


@pytest.mark.parametrize(
    ("mode", "actions", "message"),
    [
        ("pace", torch.zeros(3, 1, dtype=torch.int64), r"shape \(3, 1\) is outside the space, must be \(3,\)"),
        ("pace", torch.zeros(3), "torch.float32 is outside the space, must be integers"),
        ("pace", np.zeros(3, int), "ndarray beside paths of tensors; must be a tensor too"),
        ("fraction", np.zeros(3), "ndarray beside paths of tensors; must be a tensor too"),
        ("fraction", torch.zeros(3, 2), r"shape \(3, 2\) is outside the space, must be \(3, 1\)"),
    ],
)
def test_actions_of_another_shape_or_type_are_refused(mode: str, actions: Any, message: str) -> None:
    market = TorchMarket(Market(), Order())
    with pytest.raises(ValueError, match=f"action '{mode}': {message}"):
        market.costs(lambda _: actions, market.simulate(3, market.generator(0)), ActionMode(mode))


@pytest.mark.slow
def test_single_precision_costs_nearly_the_same() -> None:
    paths = Paths.simulate(Market(), Order(), 200, seed=0)
    policy = Linear()
    exact = TorchMarket(Market(), Order(), dtype=torch.float64)
    single = TorchMarket(Market(), Order())
    wanted = exact.costs(policy, exact.load(paths), FRACTION).objective
    found = single.costs(policy.float(), single.load(paths), FRACTION).objective
    np.testing.assert_allclose(found.detach(), wanted.detach(), rtol=1e-5)


@pytest.mark.parametrize("cap", [None, 0.3])
def test_a_slice_without_volume_is_no_nonsense_in_single_precision(cap: float | None) -> None:
    order = Order(n_steps=4, max_participation=cap)
    paths = Paths.simulate(Market(), order, 5, seed=0)
    volume = paths.slices.volume.copy()
    volume[:, 1] = 0.0
    paths, policy = replace(paths, slices=paths.slices._replace(volume=volume)), Linear(torch.float32)
    market = TorchMarket(Market(), order)
    cost = market.costs(policy, market.load(paths), FRACTION).objective.mean()
    cost.backward()
    assert torch.isfinite(cost)
    assert torch.isfinite(policy.weights.grad).all()  # type: ignore[arg-type]


@pytest.mark.long
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
    market, policy = TorchMarket(Market(), Order(n_steps=5, shares=2.5e4), dtype=torch.float64), Linear()
    paths = market.simulate(20, market.generator(0))

    def cost() -> torch.Tensor:
        return market.costs(policy, paths, FRACTION).objective.mean()

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


EVERYTHING = Market(
    **{"shock_rate": 10.0, "shock_size": 0.7, "signal": 0.02, "signal_volatility": 0.05, "slippage_noise": 1.0},
    **{"impact_exponent": 0.6, "volatility_elasticity": -0.25, "taker_fee": 2.0},
    **{"regime_rate": 4.0, "stress": "liquidity-collapse", "stress_onset_end": 0.8, "stress_factor": 0.3},
)
SOME = Order(n_steps=6, shares=5e4)
TIMES = [
    *("shock_rate", "signal_reversion", "regime_rate", "regime_recovery", "stress_onset", "stress_onset_end"),
    *("overnight_variance", "night_length"),
]
NO_COST = ["maker_rebate", "tick_size", "lot_size"]
"""What no cost of a market order moves smoothly with."""
NUMBERS = [f.name for part in (EVERYTHING, SOME) for f in fields(part) if isinstance(getattr(part, f.name), float)]


def changed(name: str, value: Any, market: Market = EVERYTHING, order: Order = SOME) -> TorchMarket:
    changes: dict[str, Any] = {name: value}
    market, order = (
        (replace(market, **changes), order) if hasattr(market, name) else (market, replace(order, **changes))
    )
    return TorchMarket(market, order, dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NUMBERS if name not in (*TIMES, *NO_COST, "slice_length")])
def test_gradients_reach_the_parameters_of_the_problem(name: str) -> None:
    base = float(getattr(EVERYTHING if hasattr(EVERYTHING, name) else SOME, name))

    def cost(value: Any) -> Any:
        market = changed(name, value)
        paths = market.simulate(100, market.generator(0))
        costs = market.costs(lambda observations: torch.full((100,), 0.15, dtype=torch.float64), paths, FRACTION)
        return (costs.objective + costs.shortfall).mean()

    parameter = torch.tensor(base, dtype=torch.float64, requires_grad=True)
    cost(parameter).backward()
    step = 1e-5 * base
    difference = float(cost(base + step) - cost(base - step)) / (2 * step)
    assert difference != 0
    assert float(parameter.grad) == pytest.approx(difference, rel=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["signal", "stress_factor"])
def test_gradients_reach_a_signal_at_zero_and_the_size_of_shocks_that_are_the_stress(name: str) -> None:
    parameter = torch.tensor({"signal": 0.0, "stress_factor": 0.4}[name], dtype=torch.float64, requires_grad=True)
    market = changed(name, parameter, Market(stress="liquidity-shocks", stress_onset=0.0), Order(n_steps=20))
    costs = market.costs(twap, market.simulate(50, market.generator(0)), PACE)
    costs.objective.mean().backward()
    assert float(parameter.grad) < 0  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*TIMES, "slice_length"])
def test_a_tensor_to_which_no_gradient_can_flow_is_refused(name: str) -> None:
    parameter = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
    if name == "stress_onset_end":
        parameter = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match=f"{name} is a tensor that wants a gradient: it must be a number"):
        changed(name, parameter)


def test_continuous_actions_beyond_the_space_are_clipped_to_it() -> None:
    market = TorchMarket(Market(), Order(max_participation=None), dtype=torch.float64)
    paths = market.simulate(3, market.generator(0))
    all_at_once = market.costs(lambda observations: torch.full((3,), 7.0), paths, FRACTION)
    exactly = market.costs(lambda observations: torch.ones(3), paths, FRACTION)
    assert torch.equal(all_at_once.objective, exactly.objective)
    assert (all_at_once.shares_left == 0).all()


@pytest.mark.parametrize(("device", "why"), [("toaster", "torch knows no such device$"), ("meta", ".+"), (3, ".+")])
def test_a_device_that_is_not_here_is_refused(device: Any, why: str) -> None:
    with pytest.raises(ValueError, match=f"device = {device!r}: not to be had here: {why}"):
        TorchMarket(Market(), Order(), device=device)


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
