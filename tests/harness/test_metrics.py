"""Metrics, by hand on a tiny frame; what is undefined is NaN."""

import numpy as np
import pandas as pd
import pytest

from exec_env.base.bootstrap import Z95
from exec_env.harness.metrics import cvar, summarise


def frame(**shortfalls: list[float]) -> pd.DataFrame:
    """Paths of each agent; the objective is the shortfall plus one."""
    parts = []
    for agent, values in shortfalls.items():
        shortfall = np.array(values)
        parts.append(
            pd.DataFrame(
                {
                    "agent": agent,
                    "path": np.arange(len(values)),
                    "shortfall": shortfall,
                    "objective": shortfall + 1.0,
                    "shares_left": [10.0, *[0.0] * (len(values) - 1)],
                    "participation": 0.1,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


NOT_TOLD = ("gap_best_percent", "mean_variance")
"""Columns that need what ``summarise`` is not told here: the best achievable value, and what variance costs."""
TWO = {"twap": [1.0, 2.0, 3.0, 6.0], "mine": [2.0, 1.0, 1.0, 2.0]}


def test_cvar_is_the_mean_of_the_costliest_twentieth() -> None:
    assert cvar(np.arange(1.0, 41.0)) == 39.5
    assert cvar(np.arange(40.0, 0.0, -1.0)) == 39.5
    assert cvar(np.array([5.0, 1.0])) == 5.0
    assert cvar(np.arange(1.0, 11.0), level=0.8) == 9.5
    assert cvar(np.full(100, 3.0)) == 3.0


def test_means_errors_and_sharpe_by_hand() -> None:
    row = summarise(frame(**TWO), bound_bps=2.0).loc["twap"]
    std = np.sqrt((4 + 1 + 0 + 9) / 3)
    assert row["shortfall_mean"] == 3.0
    assert row["objective_mean"] == 4.0
    assert row["shortfall_std"] == pytest.approx(std)
    assert row["shortfall_se"] == row["objective_se"] == pytest.approx(std / 2)
    assert row["sharpe"] == pytest.approx(-3.0 / std)
    assert row["cvar95"] == 6.0
    assert row["shares_left"] == 2.5
    assert row["participation"] == pytest.approx(0.1)


def test_gap_and_comparison_with_twap_by_hand() -> None:
    table = summarise(frame(**TWO), bound_bps=2.0)
    mine, twap = table.loc["mine"], table.loc["twap"]
    assert mine["gap_percent"] == pytest.approx(25.0)
    assert twap["gap_percent"] == pytest.approx(100.0)
    assert mine["gap_closed_percent"] == pytest.approx(75.0)
    assert twap["gap_closed_percent"] == 0.0
    difference = np.array([1.0, -1.0, -2.0, -4.0])
    half = Z95 * difference.std(ddof=1) / 2
    assert mine["diff"] == -1.5
    assert (mine["diff_low"], mine["diff_high"]) == pytest.approx((-1.5 - half, -1.5 + half))
    assert mine["win_rate"] == 0.75
    assert twap["diff"] == twap["diff_low"] == twap["diff_high"] == 0.0
    assert twap["win_rate"] == 0.5


def test_the_gap_to_the_best_achievable_and_the_price_of_variance_by_hand() -> None:
    table = summarise(frame(**TWO), bound_bps=2.0, best_bps=2.2, price_of_variance=0.5)
    assert table["gap_best_percent"].to_list() == pytest.approx([100 * (2.5 / 2.2 - 1), 100 * (4.0 / 2.2 - 1)])
    assert table["mean_variance"].to_list() == pytest.approx([1.5 + 0.5 / 3, 3.0 + 0.5 * 14 / 3])


def test_how_far_each_is_behind_the_best_of_the_table_by_hand() -> None:
    table = summarise(frame(**TWO), bound_bps=2.0)
    half = Z95 * np.array([1.0, -1.0, -2.0, -4.0]).std(ddof=1) / 2
    assert table.loc["twap", ["behind", "behind_low", "behind_high"]].to_list() == pytest.approx(
        [1.5, 1.5 - half, 1.5 + half]
    )
    assert table.loc["mine", ["behind", "behind_low", "behind_high"]].to_list() == [0.0, 0.0, 0.0]


def test_without_variates_the_estimate_is_the_raw_mean() -> None:
    table = summarise(frame(**TWO), bound_bps=2.0)
    assert (table["variate"] == "none").all()
    assert (table["objective_mean"] == table["objective_raw_mean"]).all()
    assert (table["objective_se"] == table["objective_raw_se"]).all()


def test_the_best_objective_comes_first() -> None:
    assert list(summarise(frame(**TWO), 2.0).index) == ["mine", "twap"]


def test_an_agent_worse_than_twap_closes_less_than_nothing_of_its_gap() -> None:
    table = summarise(frame(twap=[1.0, 1.0], worse=[2.0, 2.0]), bound_bps=1.0)
    assert table.loc["worse", "gap_closed_percent"] == pytest.approx(-100.0)


def test_without_a_bound_gaps_are_undefined_and_all_else_is_not() -> None:
    table = summarise(frame(**TWO), bound_bps=None)
    undefined = {"gap_percent", "gap_closed_percent", *NOT_TOLD}
    assert set(table.columns[table.isna().any()]) == undefined


def test_without_twap_comparisons_are_undefined() -> None:
    table = summarise(frame(mine=[1.0, 2.0]), bound_bps=1.0)
    undefined = {"gap_closed_percent", "diff", "diff_low", "diff_high", "diff_trusted", "win_rate", *NOT_TOLD}
    assert set(table.columns[table.isna().any()]) == undefined


def test_a_single_path_has_no_spread_and_so_no_error_and_no_interval() -> None:
    table = summarise(frame(twap=[1.0], mine=[2.0]), bound_bps=1.0)
    undefined = {"objective_se", "objective_raw_se", "shortfall_se", "shortfall_std", "sharpe", *NOT_TOLD}
    undefined |= {"diff_low", "diff_high", "behind_low", "behind_high"}
    assert set(table.columns[table.isna().any()]) == undefined
    assert table.loc["mine", "diff"] == 1.0


def test_equal_costs_on_every_path_have_no_sharpe() -> None:
    row = summarise(frame(twap=[2.0, 2.0, 2.0]), bound_bps=1.0).loc["twap"]
    assert row["shortfall_std"] == 0.0
    assert np.isnan(row["sharpe"])


def test_where_twap_is_the_bound_there_is_no_gap_to_close() -> None:
    table = summarise(frame(twap=[1.0, 1.0], mine=[1.0, 1.0]), bound_bps=2.0)
    assert table["gap_closed_percent"].isna().all()
    assert (table["gap_percent"] == 0.0).all()
