"""Standard errors and intervals of means: of independent paths, and of episodes that overlap in time."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exec_env import Tape
from exec_env.base.bootstrap import Blocks, Independent
from exec_env.harness import evaluate


def autoregressive(rng: np.random.Generator, n: int, phi: float) -> np.ndarray:
    x = rng.standard_normal(n + 200)
    for t in range(1, len(x)):
        x[t] += phi * x[t - 1]
    return x[200:]


def test_independent_episodes_have_the_usual_standard_error() -> None:
    rows = np.arange(1000)
    ratios = []
    for seed in range(20):
        costs = np.random.default_rng(seed).standard_normal(1000)
        ratios.append(Blocks(rows, rows, 1).standard_error(costs) / Independent().standard_error(costs))
    # A block bootstrap of 166 blocks knows the deviation to 1 / √(2 · 166) = 5 %, on average over 20 to 1.3 %.
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_intervals_of_overlapping_and_dependent_episodes_cover_the_truth_about_as_stated(phi: float) -> None:
    n_steps, trials, possible = 10, 100, np.arange(1491)
    covered, naive = 0, 0
    for seed in range(trials):
        slices = autoregressive(np.random.default_rng(seed), 1500, phi)
        costs = np.convolve(slices, np.ones(n_steps), "valid")  # of true mean zero
        low, high = Blocks(possible, possible, n_steps).interval(costs)
        covered += low <= 0 <= high
        low, high = Independent().interval(costs)
        naive += low <= 0 <= high
    # 95 % of 100 is 95 ± 2.2; percentiles of some 45 blocks are a little narrow.
    assert covered >= 87
    assert naive < 60


def test_how_many_episodes_begin_at_each_row_does_not_make_the_mean_surer() -> None:
    possible = np.arange(300)
    slices = np.random.default_rng(1).standard_normal(309)
    costs = np.convolve(slices, np.ones(10), "valid")
    once, often = Blocks(possible, possible, 10), Blocks(np.repeat(possible, 7), possible, 10)
    assert often.standard_error(np.repeat(costs, 7)) == pytest.approx(once.standard_error(costs), rel=1e-9)
    assert often.interval(np.repeat(costs, 7)) == pytest.approx(once.interval(costs), rel=1e-9)


def test_random_starts_are_resampled_by_time_in_whatever_order_they_come() -> None:
    possible, rng = np.arange(300), np.random.default_rng(2)
    costs = np.convolve(rng.standard_normal(309), np.ones(10), "valid")
    rows = rng.integers(300, size=2000)
    drawn = Blocks(rows, possible, 10).standard_error(costs[rows])
    assert drawn == pytest.approx(Blocks(possible, possible, 10).standard_error(costs), rel=0.15)
    assert drawn > 5 * Independent().standard_error(costs[rows])
    ordered = np.sort(rows)
    assert Blocks(ordered, possible, 10).standard_error(costs[ordered]) == pytest.approx(drawn, rel=1e-9)


def test_blocks_are_never_shorter_than_an_episode_and_never_longer_for_a_gap() -> None:
    assert Blocks(np.arange(50), np.arange(50), 10).length == 10
    assert Blocks(np.arange(480), np.arange(480), 10).length == 20  # 10 · (48 / 6)^(1/3)
    sessions = (100 * np.arange(6)[:, None] + np.arange(6)).ravel()  # six starts a day, episodes of 15 rows
    assert Blocks(sessions, sessions, 15).length == 6
    assert Blocks(sessions, sessions, 15).n_blocks == 6


def test_the_same_question_has_the_same_answer_and_paired_means_are_resampled_together() -> None:
    possible = np.arange(200)
    costs = np.random.default_rng(3).standard_normal((2, 200))
    blocks = Blocks(possible, possible, 4)
    assert blocks.interval(costs[0]) == blocks.interval(costs[0])
    both = blocks.resampled(costs)
    np.testing.assert_allclose(both[:, 1] - both[:, 0], blocks.resampled(costs[1:] - costs[:1])[:, 0], atol=1e-12)


def test_of_a_single_start_nothing_is_said() -> None:
    blocks = Blocks(np.array([7, 7]), np.arange(200), 5)
    assert np.isnan(blocks.standard_error(np.array([1.0, 1.0])))


@pytest.mark.slow
def test_with_one_block_nothing_is_said_and_with_few_a_warning(tape_csv: Path) -> None:
    assert np.isnan(Blocks(np.arange(10), np.arange(10), 8).standard_error(np.arange(10.0)))
    kwargs: dict[str, Any] = {"tape": tape_csv, "shares": 5e4, "episodes": 60}
    few = evaluate(["twap", "pov"], n_steps=20, **kwargs)
    assert "of blocks of 20 starts in a row, of which there are 4" in few.table()
    assert "with only 4 blocks intervals are too narrow to trust" in few.table()
    session = Tape.from_frame(pd.read_csv(tape_csv)[:60])
    none = evaluate(["twap", "pov"], n_steps=40, **kwargs | {"tape": session})
    assert none.per_agent[["objective_se", "diff_low"]].isna().all(axis=None)
    assert "with so few there are none" in none.table()
    many = evaluate(["twap", "pov"], n_steps=2, **kwargs)
    assert "too narrow" not in many.table()
    assert many.per_agent.loc["pov", "diff_low"] < many.per_agent.loc["pov", "diff_high"]
