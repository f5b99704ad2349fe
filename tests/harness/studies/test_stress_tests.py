"""Agents under stress: one evaluation per regime, who is best, tables and pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exec_env.base.bootstrap import Blocks, Independent
from exec_env.harness import evaluate
from exec_env.harness.reports.stress_plots import heat_map, severities
from exec_env.harness.studies import stress_tests as stresses
from exec_env.harness.studies.stress_tests import TOLD, probability_of_being_best, stress
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.scenarios import NAMES, scenarios
from exec_env.optimum import lq

SMALL: dict[str, Any] = {"n_steps": 8, "shares": 40_000.0, "episodes": 200}
AGENTS = ["twap", "adaptive"]
RISKY: dict[str, Any] = SMALL | {"risk_aversion": 10.0}
"""Where liquidity is a million times as good, risk is too large beside impact for a bound."""


@pytest.mark.slow
def test_each_regime_is_one_evaluation_on_its_own_paths() -> None:
    found = stress(["twap", "pov"], scenarios(["normal", "volatility-spike"], onset=0.25), seed=4, **SMALL)
    for label, options in (("normal", {}), ("volatility-spike", {"stress": "volatility-spike", "stress_onset": 0.25})):
        alone = evaluate(["twap", "pov"], seed=4, **SMALL, **options).per_agent
        rows = found.table[found.table["label"] == label].set_index("agent")
        for column in ("objective_mean", "shortfall_std", "sharpe", "cvar95", "gap_percent"):
            np.testing.assert_allclose(rows.loc[alone.index, column], alone[column])


@pytest.mark.slow
def test_the_bound_is_that_of_an_oracle_who_knows_the_window() -> None:
    found = stress(["twap"], scenarios(["extreme-shock"], [0.3], 0.25, 0.75), **SMALL)
    market = Market(stress="extreme-shock", stress_factor=0.3, stress_onset=0.25, stress_onset_end=0.75)
    wanted = lq.solve(market, Order(n_steps=8, shares=40_000.0)).bound_bps
    assert found.table["bound_bps"].tolist() == pytest.approx([wanted])


@pytest.mark.slow
def test_nobody_tells_the_agents_but_those_that_are_told() -> None:
    found = stress(AGENTS, scenarios(["normal", "liquidity-collapse"]), told=["adaptive"], **SMALL)
    above = found.above()
    assert list(above.index) == ["twap", "adaptive", "adaptive" + TOLD]
    assert above.loc["adaptive" + TOLD, "liquidity-collapse"] < above.loc["adaptive", "liquidity-collapse"]
    assert np.isnan(above.loc["adaptive" + TOLD, "normal"])
    assert set(found.best["best"]) <= set(AGENTS)


@pytest.mark.slow
def test_who_cannot_be_told_is_left_out_and_a_note_says_why() -> None:
    found = stress(["twap"], scenarios(["liquidity-collapse"], [0.5, 1e6]), told=["adaptive"], **RISKY)
    assert "adaptive (told) left out of liquidity-collapse × 1e+06: Order.risk_aversion = 10: too large" in found.text()
    assert list(found.table.loc[found.table["factor"] == 1e6, "agent"]) == ["twap"]
    assert "liquidity-collapse × 1e+06: no bound: Order.risk_aversion = 10: too large" in found.text()


@pytest.mark.parametrize(
    ("told", "message"), [("nobody", "unknown agent 'nobody'"), ("optimal", "signal_volatility = 0.1: must be 0")]
)
def test_who_can_never_be_told_is_refused_before_any_work(
    told: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stresses, "evaluate_on", lambda *_, **__: pytest.fail("worked first"))
    with pytest.raises(ValueError, match=message):
        stress(["twap"], scenarios(["volatility-spike"]), told=[told], signal_volatility=0.1, **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ["AlmgrenChrissLiquidityCollapse-v0", "AlmgrenChrissRegimeSwitching-v0"])
def test_normal_is_without_stress_also_where_the_environment_has_one(env_id: str) -> None:
    among = scenarios(["volatility-spike", "normal"])
    ours, plain = (stress(AGENTS, among, one, told=["static"], **SMALL) for one in (env_id, "AlmgrenChriss-v0"))
    pd.testing.assert_frame_equal(ours.table, plain.table)
    assert ours.settings["regimes"] == ["normal", "volatility-spike"]
    again = evaluate(["twap"], env_id, seed=0, **SMALL, **ours.settings["of_regimes"][0])
    assert again.bound_bps == ours.table["bound_bps"][0]


@pytest.mark.slow
def test_what_is_said_of_the_poor_regime_counts_where_it_comes() -> None:
    found = stress(["twap"], scenarios(["normal", "regime-switching"]), regime_volatility=5.0, **SMALL).table
    wanted = lq.solve(Market(regime_rate=2.0, regime_volatility=5.0), Order(n_steps=8, shares=40_000.0)).bound_bps
    assert found["bound_bps"].tolist()[1] == pytest.approx(wanted)


def test_what_the_regimes_vary_cannot_be_given_beside_them() -> None:
    with pytest.raises(ValueError, match="stress = 'extreme-shock': is what regimes vary; give it to scenarios"):
        stress(["twap"], scenarios(), stress="extreme-shock", **SMALL)


def test_a_regime_that_cannot_be_is_left_out_and_a_note_says_why() -> None:
    options: dict[str, Any] = {"preset": "almgren-chriss-2001", "episodes": 20}
    found = stress(["twap"], scenarios(["normal", "liquidity-shocks"]), **options)
    assert set(found.table["label"]) == {"normal"}
    assert "liquidity-shocks left out: Market.stress = 'liquidity-shocks': its shock rate of 2 must" in found.text()
    with pytest.raises(ValueError, match="its shock rate of 2 must be below 1"):
        stress(["twap"], scenarios(["liquidity-shocks"]), **options)
    with pytest.raises(ValueError, match="randomise = 'stress': Market.stress = 'liquidity-shocks'"):
        stress(["twap"], scenarios(["normal"]), randomise="stress", **options)


@pytest.mark.long
@pytest.mark.parametrize(("regime", "paired"), [("volatility-spike", True), ("regime-switching", False)])
def test_regrets_spread_over_seeds_as_their_errors_say(regime: str, paired: bool) -> None:
    small = SMALL | {"n_steps": 4}
    among = scenarios(["normal", regime])
    tables = [stress(["twap"], among, seed=seed, **small).table.iloc[1] for seed in range(40)]
    for name in ("regret", "added_regret"):
        spread = np.std([t[name] for t in tables], ddof=1)
        assert spread == pytest.approx(np.mean([t[f"{name}_se"] for t in tables]), rel=0.4)  # 3.5 errors of 40
    both = stress(["twap"], among, **small).table["objective_se"]
    assert (tables[0]["added_regret_se"] < 0.99 * np.hypot(*both)) == paired
    assert stress(["twap"], among, **small).table["added_regret_se"][0] == 0


@pytest.mark.slow
def test_one_regime_without_a_bound_changes_no_other() -> None:
    with_, without = (scenarios(["liquidity-collapse"], factors) for factors in ([0.5, 1e6], [0.5]))
    one, other = (stress(["twap", "pov"], among, **RISKY) for among in (with_, without))
    label = "liquidity-collapse × 0.5"
    pd.testing.assert_series_equal(one.above()[label], other.above()[label])
    assert one.without_bound() == {"liquidity-collapse × 1e+06"}
    assert one.above()["liquidity-collapse × 1e+06"].min() == 0
    assert one.above("regime")[label].min() == 0
    titles = [axes.get_title() for axes in heat_map(one).axes]
    assert titles == ["J above the oracle's bound (*: the best agent) [%]", titles[1]]
    assert "at most 1 % left to the closing block" in titles[1]
    left, right = severities(one).axes[0].get_xlim()
    assert left > right  # from mild to severe


def test_every_regime_has_its_severities_but_the_normal_one() -> None:
    among = scenarios(NAMES, [0.5, 0.1])
    assert len(among) == 1 + 2 * (len(NAMES) - 1)
    assert among[-1].options == {"regime_rate": 2.0, "regime_liquidity": 0.1}
    assert [s.label for s in scenarios(["extreme-shock"])] == ["extreme-shock"]
    assert [s.label for s in scenarios(["extreme-shock"], [0.3])] == ["extreme-shock × 0.3"]


@pytest.mark.slow
def test_the_regret_that_a_change_of_regime_adds_is_beyond_what_it_costs_the_oracle() -> None:
    found = stress(["twap", "static"], scenarios(["normal", "impact-regime-shift"]), told=["static"], **SMALL).table
    by = found.set_index(["regime", "agent"])
    calm, changed = by.loc["normal"], by.loc["impact-regime-shift"]
    wanted = changed["objective_mean"]["twap"] - calm["objective_mean"]["twap"]
    wanted -= changed["bound_bps"]["twap"] - calm["bound_bps"]["twap"]
    assert changed["added_regret"]["twap"] == pytest.approx(wanted)
    assert (calm["added_regret"] == 0).all()
    assert changed["added_regret"]["static" + TOLD] <= changed["added_regret"]["static"] + 1e-9
    alone = stress(["twap"], scenarios(["impact-regime-shift"]), **SMALL).table
    assert alone["added_regret"].isna().all()


@pytest.mark.slow
def test_regret_is_above_the_best_achievable_where_it_is_computed() -> None:
    small = SMALL | {"n_steps": 4, "max_participation": 0.2}
    found = stress(["twap"], scenarios(["normal", "regime-switching"]), optimum=True, **small).table
    assert (found["best_bps"] > found["bound_bps"]).all()
    np.testing.assert_allclose(found["regret"], found["objective_mean"] - found["best_bps"])


@pytest.mark.slow
def test_more_severe_costs_more_and_completes_less() -> None:
    among = scenarios(["liquidity-collapse"], [0.8, 0.3, 0.1])
    found = stress(["twap"], among, **SMALL)
    costs = found.table["objective_mean"].to_numpy()
    assert (np.diff(costs) > 0).all()
    assert (np.diff(found.completed().loc["twap"]) < 0).all()


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_probabilities_of_being_best_add_up_and_follow_the_paired_difference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    luck = 100 * rng.standard_normal(400)
    costs = luck + np.array([[0.0], [0.0], [1.0]]) + 0.1 * rng.standard_normal((3, 400))
    p = probability_of_being_best(costs, Independent(), seed)
    assert p.sum() == pytest.approx(1)
    assert p[2] == 0


def test_equals_share_the_probability_and_fewer_independent_paths_make_it_less_sure() -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal(1000)
    assert probability_of_being_best(np.stack([one, one]), Independent()).tolist() == [0.5, 0.5]
    costs = np.stack([one, one + 0.1 + rng.standard_normal(1000)])
    overlapping = Blocks(np.arange(1000), np.arange(1000), 50)
    assert 0.5 < probability_of_being_best(costs, overlapping)[0] < probability_of_being_best(costs, Independent())[0]


def test_the_probability_is_that_of_a_normal_mean() -> None:
    rng = np.random.default_rng(1)
    difference = rng.standard_normal(2000)
    difference = (difference - difference.mean()) / difference.std() + 1 / 2000**0.5  # one standard error above zero
    p = probability_of_being_best(np.stack([0 * difference, difference]), Independent())[0]
    assert p == pytest.approx(0.8413, abs=0.03)


@pytest.mark.slow
def test_saving_writes_tables_settings_and_pictures(tmp_path: Path) -> None:
    found = stress(AGENTS, scenarios(["normal", "extreme-shock"], [0.5, 0.2]), **SMALL)
    folder = found.save(tmp_path / "out")
    assert {p.name for p in folder.iterdir()} == {
        *("stress.csv", "best.csv", "stress.yaml", "heat_map.png", "severity.png")
    }
    table = pd.read_csv(folder / "stress.csv")
    assert set(table["label"]) == {"normal", "extreme-shock × 0.5", "extreme-shock × 0.2"}
    with pytest.raises(ValueError, match="exists: choose another folder"):
        found.save(tmp_path / "out")


@pytest.mark.slow
def test_a_recorded_market_has_no_bound_so_agents_are_compared_with_the_best(tape_csv: Path, tmp_path: Path) -> None:
    among = scenarios(["normal", "liquidity-collapse", "regime-switching"])
    found = stress(["twap", "pov"], among, tape=tape_csv, shares=50_000.0, n_steps=10, episodes=60)
    assert found.without_bound() == set(found.table["label"])
    assert (found.above().min() == 0).all()
    assert "no bound: the paths are recorded" in found.text()
    found.save(tmp_path / "out")


def test_one_agent_alone_has_nobody_to_be_better_than(tmp_path: Path) -> None:
    found = stress(["twap"], scenarios(["normal"]), **SMALL)
    assert found.best["best"].tolist() == ["twap"]
    found.save(tmp_path / "out")


def test_an_unknown_regime_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown regime 'liquidity-colapse'; did you mean 'liquidity-collapse'"):
        scenarios(["liquidity-colapse"])
    with pytest.raises(ValueError, match="regime 'normal' is named twice"):
        scenarios(["normal", "normal"])
    with pytest.raises(ValueError, match=r"severity = 1e\+300: must be in \[1e-06, 1e\+06\]"):
        scenarios(["extreme-shock"], [1e300])
    with pytest.raises(ValueError, match="no regimes: name at least one of normal"):
        scenarios([])
