"""Drawn paths: distributions, seeds, and that no path depends on how many are drawn."""

from typing import Any

import numpy as np
import pytest
import torch

from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths, Simulator, regime_of, shape
from exec_env.one_asset.presets import PRESETS
from exec_env.optimum import regimes
from tests.conftest import RICH


def within(sample: np.ndarray, mean: float, k: float = 4.0) -> bool:
    """Whether the mean of independent rows is ``k`` standard errors from ``mean``."""
    rows = sample.reshape(len(sample), -1).mean(axis=1)
    return abs(rows.mean() - mean) < k * rows.std(ddof=1) / len(rows) ** 0.5


@pytest.mark.parametrize("profile", ["flat", "u-shaped"])
def test_the_parameters_are_the_averages(profile: Any) -> None:
    market, order = Market(volume_profile=profile, volatility_elasticity=-0.25), Order()
    s = Paths.simulate(market, order, 20_000, seed=1).slices
    assert within(s.half_spread, 1e-4 * 100)
    assert within(s.volume, 5e6 / 78)
    assert within(s.temporary, 1.6e-7 * 78)
    assert within(s.variance, 4 / 78)
    assert within(s.price_shock, 0.0)
    assert within(s.price_shock**2, 4 / 78)


@pytest.mark.slow
def test_log_liquidity_is_a_stationary_ornstein_uhlenbeck_process() -> None:
    order = Order()
    l = Paths.simulate(Market(), order, 50_000, seed=2).slices.log_liquidity
    np.testing.assert_allclose(l.std(axis=0), 0.5, rtol=0.02)
    a = np.exp(-7.8 / 78)
    for lag in (1, 5):
        correlation = np.mean(l[:, 0] * l[:, lag]) / 0.25
        assert correlation == pytest.approx(a**lag, abs=0.02)


def test_shocks_come_at_their_rate_and_lower_liquidity() -> None:
    market = Market(liquidity_volatility=0.0, shock_rate=7.8, shock_size=1.0)
    l = Paths.simulate(market, Order(), 20_000, seed=3).slices.log_liquidity
    a = np.exp(-7.8 / 78)
    jumps = l[:, 1:] - a * l[:, :-1]
    assert set(np.unique(jumps.round(9))) == {-1.0, 0.0}
    assert within((jumps < -0.5).astype(float), 0.1)


@pytest.mark.slow
def test_the_signal_decays_from_its_start_and_has_its_deviation() -> None:
    market, order = Market(signal=0.1, signal_volatility=0.3, signal_reversion=10.0), Order()
    alpha = Paths.simulate(market, order, 50_000, seed=4).slices.drift / (100.0 * order.slice_length)
    for t in (0, 10, 39):
        assert within(alpha[:, t], 0.1 * np.exp(-10.0 * t / 78))
        assert alpha[:, t].std() == pytest.approx(0.3, rel=0.02)
    assert np.mean((alpha[:, 0] - 0.1) * (alpha[:, 5] - alpha[:, 5].mean())) / 0.09 == pytest.approx(
        np.exp(-50 / 78), abs=0.02
    )


def test_same_seed_same_bytes_and_another_seed_other_paths() -> None:
    market, order = Market(**RICH), Order()
    first, again, other = (Paths.simulate(market, order, 3, seed) for seed in (7, 7, 8))
    for a, b in zip(first.slices.columns, again.slices.columns, strict=True):
        assert a.tobytes() == b.tobytes()
    assert not np.array_equal(first.slices.volume, other.slices.volume)


def test_path_e_does_not_depend_on_how_many_paths_are_drawn_at_once() -> None:
    simulator = Simulator(Market(**RICH), Order())
    rng = np.random.default_rng(5)
    whole = Paths.simulate(simulator.market, simulator.order, 7, seed=5)
    parts = [simulator.sample([rng], n) for n in (2, 1, 4)]
    for i, column in enumerate(whole.slices):
        np.testing.assert_array_equal(np.concatenate([p.slices[i] for p in parts]), column)


def test_several_generators_give_their_own_paths_in_turn() -> None:
    simulator = Simulator(Market(), Order(n_steps=5))
    both = simulator.sample([np.random.default_rng(1), np.random.default_rng(2)], 3)
    for i, seed in enumerate((1, 2)):
        alone = Paths.simulate(simulator.market, simulator.order, 3, seed)
        np.testing.assert_array_equal(both.slices.volume[3 * i : 3 * i + 3], alone.slices.volume)


def test_switching_a_noise_off_leaves_the_first_path_of_the_others_as_it_was() -> None:
    order = Order()
    loud, quiet = (Paths.simulate(Market(spread_noise=v), order, 1, seed=6).slices for v in (0.3, 0.0))
    np.testing.assert_array_equal(loud.volume, quiet.volume)
    np.testing.assert_array_equal(loud.price_shock, quiet.price_shock)
    assert not np.array_equal(loud.half_spread, quiet.half_spread)


def test_the_classic_market_has_no_randomness_but_the_price() -> None:
    preset = PRESETS["classic"]
    s = Paths.simulate(preset.market, preset.order, 10, seed=0).slices
    for name in ("log_liquidity", "half_spread", "volume", "variance", "temporary", "decay", "drift"):
        assert np.ptp(getattr(s, name)) == 0.0, name
    assert np.ptp(s.price_shock) > 0


def test_torch_shapes_the_same_slices_as_numpy() -> None:
    market, order = Market(**RICH), Order(n_steps=6)
    z = np.random.default_rng(0).standard_normal((len(Normals._fields), 4, 6))
    arrays = shape(market, order, Normals(*z))
    tensors = shape(market, order, Normals(*map(torch.tensor, z)))
    for name, ours, theirs in zip(arrays._fields, arrays, tensors, strict=True):
        np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-12, err_msg=name)


def test_a_path_is_its_row_as_plain_floats() -> None:
    paths = Paths.simulate(Market(), Order(n_steps=4), 3, seed=0)
    path = paths.path(2)
    assert len(path) == 4
    assert all(type(entry) is float for now in path for entry in now.columns)
    assert path[1].volume == paths.slices.volume[2, 1]


def test_the_regime_of_a_slice_is_that_of_its_multipliers() -> None:
    market = Market(
        regime_rate=30.0, regime_recovery=40.0, stress="volatility-spike", stress_onset=0.2, stress_onset_end=0.9
    )
    order, n = Order(n_steps=6), 50
    normals = Simulator(market, order).normals([np.random.default_rng(1)], n)
    regime, chain = regime_of(market, order, normals), regimes.chain(market, order)
    assert set(np.unique(regime)) == {0, 1, 2, 3}
    calm = shape(market, order, normals._replace(onset=np.full_like(normals.onset, 9.0), regime=None))
    stressed = shape(market, order, normals)
    # The onset of the calm paths never comes but in slices where it has come for sure, of which there are none.
    by = stressed.log_liquidity - calm.log_liquidity
    assert by == pytest.approx(np.log(chain.factors.liquidity[np.arange(6), regime]))
    assert (regime_of(Market(), order, normals) == 0).all()
