"""Domain randomisation: laws, seeds, the same equations everywhere, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exec_env.harness import evaluate
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths, shape
from exec_env.market.stress import STRESSES
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.randomise import FIELDS, NAMED, PARAMETERS, Ranges
from exec_env.one_asset.torch_market import TorchMarket
from exec_env.optimum import lq
from tests.conftest import RICH

EVERYTHING = [
    "stress",
    "parameters",
    "liquidity_volatility=0.3:0.9",
    "impact_noise=0:0.5",
    "spread_elasticity=-0.2:0.8",
]


def normals(n_paths: int, n_steps: int, seed: int = 0) -> Normals:
    return Normals(*np.random.default_rng(seed).standard_normal((len(Normals._fields), n_paths, n_steps)))


def draws(ranges: Ranges, n_paths: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n_paths, ranges.n_draws))


@pytest.mark.parametrize("name", FIELDS)
def test_each_path_is_what_a_market_of_its_own_parameter_makes(name: str) -> None:
    nominal = Market(impact_exponent=0.6)
    low, order, z = getattr(nominal, name), Order(n_steps=5), normals(6, 5)
    ranges = Ranges.parse([f"{name}={low}:{low + abs(low)}"], nominal)
    markets = ranges.markets(nominal, draws(ranges, 6))
    paths = Paths.shaped(markets, order, z)
    for i, value in enumerate(getattr(markets, name)[:, 0]):
        own = Paths.shaped(
            replace(nominal, **{name: float(value)}), order, Normals(*(column[i : i + 1] for column in z))
        )
        for column, wanted in zip(paths.slices.columns, own.slices.columns, strict=True):
            np.testing.assert_allclose(column[i], wanted[0], rtol=1e-12, err_msg=name)


def test_each_path_under_stress_is_what_a_market_under_that_stress_makes() -> None:
    ranges, order, n = Ranges.parse("stress", Market()), Order(n_steps=12), 60
    z = normals(n, 12)
    markets = ranges.markets(Market(), draws(ranges, n))
    paths = Paths.shaped(markets, order, z)
    kinds = set()
    for i in range(n):
        r, own = markets.own_stress, {"stress_onset": 0.0, "stress_onset_end": 1.0}
        factors = {k: float(np.ravel(getattr(r, k))[i]) for k in ("liquidity", "volatility", "impact", "shock")}
        poor = {k: float(getattr(markets, k)[i, 0]) for k in ("regime_liquidity", "regime_volatility")}
        fields: dict[str, Any] = {}
        if factors["liquidity"] != 1:
            fields = {"stress": "liquidity-collapse", "stress_factor": factors["liquidity"], **own}
        elif factors["volatility"] != 1:
            fields = {"stress": "volatility-spike", "stress_factor": factors["volatility"], **own}
        elif factors["impact"] != 1:
            fields = {"stress": "impact-regime-shift", "stress_factor": factors["impact"], **own}
        elif factors["shock"] != 1:
            fields = {"stress": "liquidity-shocks", "stress_factor": factors["shock"], **own}
        elif poor["regime_liquidity"] != 1:
            fields = {"regime_rate": 2.0, **poor}
        kinds.add(fields.get("stress", "regime-switching" if fields else "none"))
        alone = Paths.shaped(Market(**fields), order, Normals(*(column[i : i + 1] for column in z)))
        for column, wanted in zip(paths.slices.columns, alone.slices.columns, strict=True):
            np.testing.assert_allclose(column[i], wanted[0], rtol=1e-12, atol=1e-15)
    assert kinds == {*STRESSES, "regime-switching"} - {"extreme-shock"}  # which is a collapse too


def test_every_regime_comes_with_equal_chance_and_no_severity_is_beyond_its_own() -> None:
    ranges, n = Ranges.parse("stress", Market()), 50_000
    m = ranges.markets(Market(), draws(ranges, n))
    error = 4 * (6 / 49 / n) ** 0.5
    for values, own, kinds in (
        (m.own_stress.liquidity, 0.1, 2),
        (m.own_stress.volatility, 3.0, 1),
        (m.own_stress.impact, 3.0, 1),
        (m.own_stress.shock, np.exp(-1.1), 1),
        (m.regime_liquidity, 0.3, 1),
        (m.regime_volatility, 2.0, 1),
    ):
        assert abs((values != 1).mean() - kinds / 7) < 2 * error
        power = np.log(values[values != 1]) / np.log(own)
        assert power.min() >= 0
        assert power.max() <= 1 + 1e-12


@settings(deadline=None)
@given(st.floats(1e-3, 1.0), st.floats(1.0, 10.0))
def test_parameters_stay_in_their_range_and_are_log_uniform(low: float, ratio: float) -> None:
    ranges = Ranges.parse([f"volatility={low!r}:{low * ratio!r}"], Market())
    found = ranges.markets(Market(), draws(ranges, 4000)).volatility[:, 0]
    assert (found >= low * (1 - 1e-12)).all()
    assert (found <= low * ratio * (1 + 1e-12)).all()
    assert abs(np.log(found / low).mean() - np.log(ratio) / 2) < 4 * np.log(ratio) / (12 * 4000) ** 0.5 + 1e-12


def test_a_range_that_may_be_zero_is_uniform() -> None:
    ranges = Ranges.parse(["impact_noise=0:0.6", "volatility_elasticity=-0.5:0.5"], Market())
    markets = ranges.markets(Market(), draws(ranges, 20_000))
    assert abs(markets.impact_noise.mean() - 0.3) < 4 * 0.6 / (12 * 20_000) ** 0.5
    assert abs(markets.volatility_elasticity.mean()) < 4 / (12 * 20_000) ** 0.5


def test_the_same_seed_gives_the_same_paths_however_many_are_drawn_at_once() -> None:
    source = make_problem(randomise=EVERYTHING, n_steps=7, **{k: RICH[k] for k in ("signal", "slippage_noise")}).source
    whole, rng = source.sample([np.random.default_rng(5)], 7), np.random.default_rng(5)
    parts = [source.sample([rng], n) for n in (2, 1, 4)]
    for i, column in enumerate(whole.slices):
        np.testing.assert_array_equal(np.concatenate([p.slices[i] for p in parts]), column)


@pytest.mark.usefixtures("same_stream")
@pytest.mark.parametrize("recorded", [False, True])
def test_single_vector_and_evaluation_play_the_same_paths(recorded: bool, tape_csv: Path) -> None:
    options: dict[str, Any] = {"randomise": ["stress", "parameters"], "n_steps": 6, "shares": 30_000.0}
    options |= {"tape": tape_csv} if recorded else {}
    env, many = gym.make("AlmgrenChriss-v0", **options), gym.make_vec("AlmgrenChriss-v0", num_envs=3, **options)
    table = evaluate(["twap"], episodes=9, seed=3, **options).per_path
    env.reset(seed=3)
    many.reset(seed=3)
    ended: list[float] = []
    for _ in range(9):
        over = False
        while not over:
            *_, over, _, info = env.step(4)
        ended.append(info["objective_bps"])
        env.reset()
    np.testing.assert_allclose(table["objective"], ended, rtol=1e-9)
    first = []
    while len(first) < 9:
        *_, info = many.step(np.full(3, 4))
        if "objective_bps" in info and info["_objective_bps"][0]:
            first.append(info["objective_bps"][0])
    np.testing.assert_allclose(first, ended, rtol=1e-9)


def test_torch_makes_the_same_slices_and_its_paths_have_numpys_law() -> None:
    market, order = Market(volume_profile="u-shaped"), Order(n_steps=6)
    ranges = Ranges.parse(EVERYTHING, market)
    z, own = normals(50, 6), draws(ranges, 50)
    arrays = shape(ranges.markets(market, own), order, z)
    tensors = shape(ranges.markets(market, torch.tensor(own)), order, Normals(*map(torch.tensor, z)))
    for ours, theirs in zip(arrays, tensors, strict=True):
        np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-10)
    device = TorchMarket(market, order, ranges=ranges)
    paths, n = device.simulate(20_000, device.generator(0)).slices, 20_000
    assert all(not hasattr(c, "shape") or c.shape == (n, 6) for c in paths)
    theirs = make_problem(randomise=EVERYTHING, n_steps=6, volume_profile="u-shaped").source
    sample = theirs.sample([np.random.default_rng(0)], n).slices
    for name in ("half_spread", "volume", "log_liquidity", "variance", "permanent"):
        a, b = np.log1p(np.abs(np.asarray(getattr(paths, name))[:, -1])), np.log1p(np.abs(getattr(sample, name)[:, -1]))
        assert abs(a.mean() - b.mean()) < 5 * (a.var() / n + b.var() / n) ** 0.5, name


def test_observations_are_in_units_of_the_nominal_market() -> None:
    ranges = ["half_spread=2:2", "volatility=0.06:0.06"]
    env = gym.make("AlmgrenChriss-v0", randomise=ranges, spread_noise=0.0, volatility_elasticity=-0.25)
    observation, _ = env.reset(seed=0)
    assert env.unwrapped.market.half_spread == 1.0
    liquidity = observation[2]
    assert observation[3] == pytest.approx(2 * np.exp(-0.5 * liquidity - 0.5**2 * 0.25 / 2), rel=1e-5)
    assert observation[5] == pytest.approx(3 * np.exp(-0.25 * liquidity - 0.25**2 * 0.25), rel=1e-5)


@pytest.mark.slow
def test_ranges_without_width_are_the_market_itself_whose_impact_is_held() -> None:
    narrow = evaluate(["twap"], episodes=2000, seed=1, randomise=["volatility=0.03:0.03"]).per_agent
    same = evaluate(["twap"], episodes=2000, seed=2, market=Market(volatility=0.03)).per_agent
    error = np.hypot(narrow["objective_se"], same["objective_se"])["twap"]
    assert abs(narrow["objective_mean"]["twap"] - same["objective_mean"]["twap"]) < 4 * error


def test_there_is_no_bound_and_the_table_says_why() -> None:
    found = evaluate(["twap", "adaptive"], episodes=50, optimum=True, randomise="stress")
    assert found.bound_bps is None
    assert "no bound: every path has a market of its own" in found.table()
    assert "no best achievable value: every path has a market of its own" in found.table()
    assert lq.solve(found.problem.market, found.problem.order).bound_bps == pytest.approx(20.15214, rel=1e-4)


def test_on_a_tape_only_what_it_does_not_settle_is_drawn(tape_csv: Path) -> None:
    problem = make_problem(tape=tape_csv, randomise="parameters", shares=5000.0, n_steps=10)
    assert problem.ranges is not None
    drawn = {name for name, *_ in problem.ranges.fields}
    assert drawn == {"volatility", "temporary_impact", "permanent_impact", "resilience"} < set(PARAMETERS)
    slices = problem.source.sample([np.random.default_rng(0)], 50).slices
    assert np.unique(slices.permanent).size == 50
    env = gym.make("AlmgrenChriss-v0", tape=tape_csv, randomise="stress", shares=5000.0, n_steps=10)
    env.reset(seed=0, options={"start": 4})


@pytest.mark.parametrize(
    ("randomise", "market", "message"),
    [
        ("stres", {}, "randomise: unknown ranges 'stres'; did you mean 'stress'?"),
        ([], {}, "randomise: names nothing"),
        (3, {}, "randomise = 3: must be one of stress, parameters, or NAME=LOW:HIGH"),
        ("volatilty=1:2", {}, "randomise: unknown field 'volatilty'; did you mean 'volatility'?"),
        ("transient_impact=1:2", {}, "randomise: unknown field 'transient_impact'"),
        ("volatility=0.1", {}, "randomise = 'volatility=0.1': must read NAME=LOW:HIGH"),
        ("volatility=2:1", {}, "the lowest value is above the highest"),
        ("volatility=1e-300:1e300", {}, "'volatility=1e-300:1e300': too wide; the highest must be at most 1e+06 times"),
        ("half_spread=0:1e300", {}, "'half_spread=0:1e300': too wide"),
        (["volatility=0.1:0.2", "volatility =0.2:0.3"], {}, "volatility is named twice"),
        ("volatility=-1:1", {}, "Market.volatility = -1.0: must be a finite number >= 0"),
        ("impact_exponent=0.5:3", {}, "Market.impact_exponent = 3.0: must be in [0.1, 2]"),
        ("reference_participation=0.1:0.2", {}, "reference_participation has no effect where impact_exponent = 1"),
        ("resilience=1:inf", {}, "Market.resilience = inf: must be a finite number"),
        ("stress", {"stress": "extreme-shock"}, "Market.stress = 'extreme-shock' is one already"),
        ("stress", {"regime_rate": 1.0}, "Market.regime_rate = 1.0 is one already"),
    ],
)
def test_what_cannot_be_drawn_is_refused(randomise: Any, market: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="randomise|Market") as caught:
        make_problem(randomise=randomise, **market)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_field_that_the_tape_settles_cannot_be_drawn(tape_csv: Path) -> None:
    with pytest.raises(ValueError, match="half_spread comes from the tape"):
        make_problem(tape=tape_csv, randomise="half_spread=1:2", shares=5000.0, n_steps=10)


@pytest.mark.parametrize("name", NAMED)
def test_copies_of_a_randomised_environment_go_on_alike(name: str) -> None:
    import pickle

    env = gym.make("AlmgrenChriss-v0", randomise=name).unwrapped
    env.reset(seed=1)
    env.step(3)
    twin = pickle.loads(pickle.dumps(env))
    for _ in range(90):
        ours, theirs = env.step(4), twin.step(4)
        np.testing.assert_array_equal(ours[0], theirs[0])
        if ours[2]:
            np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])
