"""Recorded markets: what is read, what is refused, what is estimated, and what an episode on a tape does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

from exec_env import Market, Order, Tape
from exec_env.data.description import describe
from exec_env.market.execution import COMPONENTS
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.presets import PRESETS
from tests.conftest import play, recorded_slices


def sessions(rows: int = 20) -> pd.DataFrame:
    """Two sessions with a night, and a jump of the price, between them."""
    day, next_day = recorded_slices(rows), recorded_slices(rows, seed=1)
    next_day["time"] += pd.Timedelta("1D")
    next_day["mid"] += 20.0
    return pd.concat([day, next_day], ignore_index=True)


def recorded(data: pd.DataFrame | None = None, **kwargs: Any) -> Tape:
    return Tape.from_frame(recorded_slices() if data is None else data, **kwargs)


def spoilt(column: str, row: int, value: Any) -> pd.DataFrame:
    data = recorded_slices().astype({column: object})
    data.loc[row, column] = value
    return data


# Reading


def test_a_csv_with_our_column_names_is_read_as_it_is(tmp_path: Path) -> None:
    data = recorded_slices()
    data.assign(remark="ignored").to_csv(tmp_path / "market.csv", index=False)
    read = Tape.read(tmp_path / "market.csv")
    for name in ("mid", "spread", "volume", "depth"):
        np.testing.assert_allclose(getattr(read, name), data[name], rtol=1e-12)
    assert list(read.time) == list(data["time"].dt.tz_localize("UTC"))
    assert read.slice_length == pytest.approx(1 / 78)


def test_depth_is_optional() -> None:
    assert recorded(recorded_slices().drop(columns="depth")).depth is None


def test_columns_of_other_names_and_arithmetic_of_columns_are_read(tmp_path: Path) -> None:
    pd.DataFrame(
        {
            "stamp": ["2024-01-02 09:30", "2024-01-02 09:35", "2024-01-02 09:40"],
            "mid price": [10.0, 11.0, 12.0],
            "bid": [9.5, 10.5, 11.5],
            "ask": [10.5, 11.5, 12.5],
            "buys": [100.0, 220.0, 0.0],
            "sells": [300.0, 0.0, 120.0],
        }
    ).to_csv(tmp_path / "other.csv", index=False)
    read = Tape.read(
        tmp_path / "other.csv",
        {"time": "stamp", "mid": "mid price", "spread": "ask - bid", "volume": "(buys + sells) / ((bid + ask) * 0.5)"},
    )
    assert read.mid.tolist() == [10.0, 11.0, 12.0]
    assert read.spread.tolist() == [1.0, 1.0, 1.0]
    assert read.volume.tolist() == [40.0, 20.0, 10.0]
    assert read.columns["spread"] == "ask - bid"


def test_numbers_in_arithmetic_may_be_written_with_an_exponent() -> None:
    np.testing.assert_allclose(recorded(columns={"volume": "1e3 * volume"}).volume, 1000 * recorded_slices()["volume"])


def test_the_trading_day_sets_the_unit_of_time() -> None:
    assert recorded(hours_per_day=24.0).slice_length == pytest.approx(5 / (24 * 60))


def test_times_of_other_zones_are_the_same_instants() -> None:
    data = recorded_slices()
    data["time"] = [f"{t}+01:00" for t in data["time"]]
    assert recorded(data).time[0] == pd.Timestamp("2024-01-02 08:30", tz="UTC")


# Refusing


@pytest.mark.parametrize("column", ["time", "mid", "spread", "volume"])
def test_a_missing_column_is_named_beside_those_there_are(column: str, tmp_path: Path) -> None:
    path = tmp_path / "market.csv"
    recorded_slices().drop(columns=column).to_csv(path, index=False)
    with pytest.raises(ValueError, match=rf"market\.csv: column '{column}' is missing.*Its columns: .*depth"):
        Tape.read(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("mid", np.nan, "not a finite number"),
        ("mid", np.inf, "not a finite number"),
        ("mid", "cheap", "'cheap' is not a number"),
        ("mid", 0.0, "must be > 0"),
        ("mid", -50.0, "must be > 0"),
        ("spread", -0.01, "must be >= 0"),
        ("spread", np.nan, "not a finite number"),
        ("volume", -1.0, "must be >= 0"),
        ("volume", np.nan, "not a finite number"),
        ("depth", 0.0, "must be > 0"),
        ("depth", np.nan, "not a finite number"),
        ("time", "soon", "not a time"),
        ("time", None, "not a time"),
        ("time", "2024-01-02 09:40", "the same time as the row before"),
        ("time", "2024-01-02 09:31", "earlier than a row before it; sort the file by time"),
    ],
)
def test_a_bad_value_is_refused_by_file_column_and_row(column: str, value: Any, why: str, tmp_path: Path) -> None:
    path = tmp_path / "market.csv"
    spoilt(column, 3, value).to_csv(path, index=False)
    with pytest.raises(ValueError, match=rf"market\.csv: row 4, '{column}': .*{why}") as caught:
        Tape.read(path)
    assert "\n" not in str(caught.value)


def test_a_refusal_reads_as_a_sentence_and_counts_the_other_bad_rows() -> None:
    data = recorded_slices()
    data.loc[[3, 7, 9], "mid"] = -1.0
    with pytest.raises(ValueError, match=r"^recording: row 4, 'mid': -1\.0 must be > 0 \(and 2 more rows here\)$"):
        recorded(data)


def test_a_value_of_zero_is_allowed_where_a_market_can_have_it() -> None:
    data = recorded_slices()
    data.loc[3, ["spread", "volume"]] = 0.0
    assert recorded(data).volume[3] == 0.0


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_are_refused(rows: int) -> None:
    with pytest.raises(ValueError, match=rf"recording: ({rows}|no) rows"):
        recorded(recorded_slices(rows))


def test_a_file_that_is_missing_empty_or_no_table_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.csv: no such file"):
        Tape.read(tmp_path / "none.csv")
    for name, content in {
        "empty.csv": b"",
        "binary.csv": bytes(range(256)),
        "ragged.csv": b"time,mid,spread,volume\n2024-01-01,2,3,4\n2024-01-02,2,3,4,5,6\n",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}: not a CSV table"):
            Tape.read(tmp_path / name)
    with pytest.raises(ValueError, match="a folder; name the files in it"):
        Tape.read(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch {marker}')",
        "__import__",
        "@x",
        "@pd",
        "mid.__class__",
        "mid.to_csv('{marker}')",
        "mid.mid",
        "volume(mid)",
        "[mid]",
        "mid if mid else mid",
        "lambda: mid",
        "(mid := volume)",
        "mid; volume",
        "mid = volume",
        "volume\nmid",
        "volume mid",
        "(volume",
        "volume)",
        "volume *",
        "",
        "7",
        "nonsense + volume",
        "volume ** 2",  # powers of numbers, such as 9**9**9**9, would not end in a lifetime
    ],
)
def test_what_is_no_arithmetic_of_columns_is_refused_and_not_run(text: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(ValueError, match="recording: column 'volume'"):
        recorded(columns={"volume": text.format(marker=marker)})
    assert not marker.exists()


def test_columns_named_like_methods_are_columns_and_call_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data = recorded_slices().assign(note=str(marker), str=1.0, cat=1.0, to_csv=1.0)
    with pytest.raises(ValueError, match="recording: column 'volume'"):
        recorded(data, columns={"volume": "volume + volume.to_csv(note.str.cat())"})
    assert not marker.exists()


def test_arithmetic_that_runs_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="recording: column 'volume'"):
        recorded(columns={"volume": "9**99999 * volume"})
    with pytest.raises(ValueError, match="row 1, 'volume': inf is not a finite number"):
        recorded(columns={"volume": "volume / 0"})


def test_an_unknown_name_on_our_side_of_a_mapping_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown column 'volum'; did you mean 'volume'"):
        recorded(columns={"volum": "mid"})


@pytest.mark.parametrize("hours", [0, -1, 25, float("nan"), "long"])
def test_an_impossible_trading_day_is_refused(hours: Any) -> None:
    with pytest.raises(ValueError, match=r"hours_per_day = .*: must be in \(0, 24\]"):
        recorded(hours_per_day=hours)


def test_a_market_without_any_volume_is_refused() -> None:
    with pytest.raises(ValueError, match="column 'volume' is zero throughout"):
        gym.make("AlmgrenChriss-v0", tape=recorded(recorded_slices().assign(volume=0.0)))


def test_a_time_in_plain_numbers_is_refused_because_its_unit_is_unknown() -> None:
    data = recorded_slices()
    data["time"] = 1_704_187_800 + 300 * np.arange(len(data))
    with pytest.raises(ValueError, match="column 'time'"):
        recorded(data)


def test_a_column_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="column 'mid'"):
        recorded(pd.concat([recorded_slices(), recorded_slices()[["mid"]]], axis=1))


# Estimating


def known(**columns: Any) -> Tape:
    """Alternating log returns of ±0.1 %, over 101 rows: as many up as down."""
    data = recorded_slices(101).assign(mid=100.0 * np.exp(0.001 * (np.arange(101) % 2)), **columns)
    return recorded(data.drop(columns="depth"))


def test_market_parameters_are_those_of_a_tape_made_with_known_ones() -> None:
    volume = np.where(np.arange(101) % 2, 90_000.0, 110_000.0)
    spread = 0.0004 * 100.0 * np.exp(0.001 * (np.arange(101) % 2))
    market = replace(known(volume=volume, spread=spread), hours_per_day=6.5).market()
    assert market.volatility == pytest.approx(0.001 * 78**0.5, rel=1e-9)
    assert market.half_spread == pytest.approx(2.0, rel=1e-9)
    assert market.daily_volume == pytest.approx(volume.mean() * 78, rel=1e-9)
    assert market.arrival_price == pytest.approx(known().mid.mean(), rel=1e-12)
    assert market.liquidity_volatility == 0.0


def test_impact_is_scaled_so_that_a_participation_costs_as_much_volatility_as_in_the_base_market() -> None:
    for base in (Market(), PRESETS["constrained-rl"].market):
        market = known().market(base)
        for name in ("temporary_impact", "permanent_impact", "transient_impact"):
            ours, theirs = (
                getattr(m, name) * m.daily_volume / (m.volatility * m.arrival_price) for m in (market, base)
            )
            assert ours == pytest.approx(theirs, rel=1e-12)
        assert market.resilience == base.resilience


def test_the_jump_over_a_night_is_no_part_of_the_volatility() -> None:
    data, step = sessions(), 0.01
    data["mid"] = np.tile(50.0 * np.exp(step * (np.arange(20) % 2)), 2) + np.repeat([0.0, 20.0], 20)
    returns = np.diff(np.log(data["mid"]))[np.arange(39) != 19]
    assert recorded(data).market().volatility == pytest.approx(returns.std() * 78**0.5, rel=1e-9)
    assert recorded(data).market().volatility < 0.02 * 78**0.5


def test_a_tape_of_a_price_that_stands_still_gives_impact_no_scale_and_is_refused() -> None:
    with pytest.raises(ValueError, match="column 'mid' is the same throughout"):
        gym.make("AlmgrenChriss-v0", tape=recorded(recorded_slices().assign(mid=100.0)))


@pytest.mark.parametrize(
    "option", [{"half_spread": 5.0}, {"signal": 1.0}, {"impact_noise": 1.0}, {"daily_volume": 1e6}]
)
def test_what_the_tape_settles_cannot_be_given_beside_it(option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"Market.{next(iter(option))} = .*: comes from the tape"):
        gym.make("AlmgrenChriss-v0", tape=recorded(), **option)


def test_an_override_wins_over_what_was_estimated() -> None:
    env = gym.make("AlmgrenChriss-v0", tape=recorded(), volatility=0.5, temporary_impact=1e-6).unwrapped
    assert env.market.volatility == 0.5
    assert env.market.temporary_impact == 1e-6


def test_the_description_says_where_each_number_came_from() -> None:
    data = recorded_slices().rename(columns={"mid": "price"}).drop(columns="depth")
    read = recorded(data, columns={"mid": "price"})
    text = describe(read, read.market())
    assert "mid     = price: price path" in text
    assert "depth   = (none): liquidity taken as constant" in text
    assert "slices of 5 min; a day of 6.5 hours" in text
    assert f"price {read.mid.mean():,.4g}" in text


# Cutting into episodes


def test_no_episode_crosses_a_gap() -> None:
    read, order = recorded(sessions(20)), Order(n_steps=15)
    assert read.starts(order).tolist() == [*range(6), *range(20, 26)]
    with pytest.raises(ValueError, match="no 21 rows without a gap among its 40 rows; n_steps must be at most 20"):
        read.starts(Order(n_steps=21))


def test_random_starts_reach_every_row_that_fits_and_no_other() -> None:
    env = gym.make("AlmgrenChriss-v0", tape=recorded(sessions(20)), n_steps=15, action="fraction")
    mids = set(env.unwrapped.problem.tape.mid[[*range(6), *range(20, 26)]])
    env.reset(seed=0)
    seen = set()
    for _ in range(300):
        env.reset()
        seen.add(env.step(np.array([1.0], np.float32))[4]["mid"])
    assert seen == mids


def test_nothing_is_held_over_the_gap_after_the_last_slice() -> None:
    env = gym.make("AlmgrenChriss-v0", tape=recorded(sessions(20)), n_steps=20).unwrapped
    env.reset(options={"start": 0})
    infos = [env.step(4)[4] for _ in range(20)]
    assert infos[-1]["price"] == 0.0
    assert abs(infos[-1]["mid"] - 50.0) < 5.0


def test_an_order_longer_than_the_tape_is_refused_with_the_most_that_fits() -> None:
    with pytest.raises(ValueError, match="no 61 rows without a gap among its 60 rows; n_steps must be at most 60"):
        gym.make("AlmgrenChriss-v0", tape=recorded(), n_steps=61)


def test_an_order_too_large_for_the_tape_is_refused_with_the_most_that_fits() -> None:
    read = recorded()
    most = 0.3 * read.volume.mean() * 40
    with pytest.raises(ValueError, match=r"Order\.shares = 1e\+08: 40 slices of recording let through about") as caught:
        gym.make("AlmgrenChriss-v0", tape=read, shares=1e8)
    assert f"{most:.4g}" in str(caught.value)
    assert gym.make("AlmgrenChriss-v0", tape=read, shares=0.99 * most) is not None
    assert gym.make("AlmgrenChriss-v0", tape=read, shares=1e8, max_participation=None) is not None


def test_a_slice_length_that_is_not_the_tapes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Order\.slice_length = 0\.5 day: the slices of recording have 0\.0128205"):
        gym.make("AlmgrenChriss-v0", tape=recorded(), slice_length=0.5)


# Trading on a tape


def quiet(**kwargs: Any) -> Any:
    """An environment in which our trades leave the price alone."""
    impact = {"permanent_impact": 0.0, "transient_impact": 0.0}
    return gym.make("AlmgrenChriss-v0", tape=recorded(), n_steps=10, shares=50_000.0, **impact, **kwargs).unwrapped


def test_an_episode_on_a_tape_trades_around_the_recorded_mids() -> None:
    data, env = recorded_slices(), quiet(side="buy")
    env.reset(options={"start": 7})
    infos = [env.step(4)[4] for _ in range(10)]
    np.testing.assert_allclose([i["mid"] for i in infos], data["mid"][7:17], rtol=1e-12)
    depth = data["depth"]
    relative = (1 / depth) / (1 / depth).mean()
    slope = env.market.temporary_impact / env.order.slice_length * relative[7:17]
    expected = data["mid"][7:17] + data["spread"][7:17] / 2 + slope * [i["shares"] for i in infos]
    np.testing.assert_allclose([i["fill_price"] for i in infos], expected, rtol=1e-12)


def test_our_own_impact_comes_on_top_of_the_recorded_mids() -> None:
    env = gym.make("AlmgrenChriss-v0", tape=recorded(), n_steps=10, shares=50_000.0).unwrapped
    env.reset(options={"start": 7})
    infos = [env.step(4)[4] for _ in range(10)]
    sold = np.cumsum([0.0] + [i["shares"] for i in infos[:-1]])
    np.testing.assert_allclose(
        [i["mid"] for i in infos], recorded_slices()["mid"][7:17] - env.market.permanent_impact * sold, rtol=1e-12
    )


def test_depth_makes_temporary_impact_inversely_proportional_with_mean_one() -> None:
    read = recorded()
    market, order = read.market(), Order(n_steps=10, slice_length=read.slice_length)
    paths = read.paths(market, order, np.arange(0, 60, 10))
    impact = paths.slices.temporary.ravel() * order.slice_length / market.temporary_impact
    np.testing.assert_allclose(impact * read.depth, impact[0] * read.depth[0], rtol=1e-12)
    assert impact.mean() == pytest.approx(1.0, rel=1e-12)
    assert paths.slices.log_liquidity.mean() == pytest.approx(0.0, abs=1e-12)


def test_without_depth_impact_and_liquidity_are_constant() -> None:
    read = recorded(recorded_slices().drop(columns="depth"))
    market, order = read.market(), Order(n_steps=10, slice_length=read.slice_length)
    slices = read.paths(market, order, np.array([0, 9])).slices
    assert np.ptp(slices.temporary) == np.ptp(slices.log_liquidity) == 0.0


def test_on_the_same_recorded_rows_a_buyers_price_risk_is_minus_a_sellers_and_all_else_is_equal() -> None:
    runs = []
    for side in ("sell", "buy"):
        env = gym.make("AlmgrenChriss-v0", tape=recorded(), n_steps=10, shares=50_000.0, action="shares", side=side)
        env = env.unwrapped
        env.reset(options={"start": 7})
        runs.append([env.step(np.array([5000.0]))[4] for _ in range(10)])
    sell, buy = ({name: sum(i[name] for i in run) for name in (*COMPONENTS, "risk")} for run in runs)
    assert sell["price"] == pytest.approx(-buy["price"], rel=1e-9)
    assert abs(sell["price"]) > 0.1
    for name in ("spread", "temporary", "transient", "permanent", "risk"):
        assert sell[name] == pytest.approx(buy[name], rel=1e-12)
        assert sell[name] > 0
    moves = np.diff(recorded_slices()["mid"][7:17])
    held = 45_000.0 - 5000.0 * np.arange(9)
    notional = 50_000.0 * recorded_slices()["mid"][7]
    assert sell["price"] == pytest.approx(-1e4 * (held * moves).sum() / notional, rel=1e-9)


def test_costs_in_basis_points_are_of_the_episodes_own_arrival_notional() -> None:
    env = quiet(temporary_impact=0.0)
    env.reset(options={"start": 20})
    for _ in range(10):
        info = env.step(4)[4]
    data = recorded_slices()[20:30]
    cash = (5000.0 * (data["mid"] - data["spread"] / 2)).sum()
    notional = 50_000.0 * data["mid"].iloc[0]
    assert info["shortfall_bps"] == pytest.approx(1e4 * (notional - cash) / notional, rel=1e-6)


def test_make_takes_a_file_with_its_columns_or_a_tape(tmp_path: Path) -> None:
    path = tmp_path / "market.csv"
    recorded_slices().rename(columns={"mid": "price"}).to_csv(path, index=False)
    kwargs = {"tape_columns": {"mid": "price"}, "hours_per_day": 6.5}
    for tape in (path, str(path)):
        from_file = gym.make("AlmgrenChriss-v0", tape=tape, **kwargs)
        in_memory = gym.make("AlmgrenChriss-v0", tape=recorded())
        a, b = play(from_file, lambda _: 4, seed=1), play(in_memory, lambda _: 4, seed=1)
        assert [s["reward"] for s in a] == pytest.approx([s["reward"] for s in b], rel=1e-9)


def test_seeds_choose_the_rows() -> None:
    env = gym.make("AlmgrenChriss-v0", tape=recorded(), n_steps=10)
    first, again, other = (play(env, lambda _: 4, seed=s)[0]["mid"] for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_start_that_does_not_fit_or_is_no_row_is_refused() -> None:
    env = gym.make("AlmgrenChriss-v0", tape=recorded(), n_steps=10)
    for start in (51, 60, -1):
        with pytest.raises(ValueError, match="do not begin 10 slices of 60 rows"):
            env.reset(options={"start": start})
    for start in ("first", 2.5, None):
        with pytest.raises(ValueError, match="start"):
            env.reset(options={"start": start})


def test_a_start_from_which_the_episode_would_cross_a_gap_is_refused() -> None:
    env = gym.make("AlmgrenChriss-v0", tape=recorded(sessions(20)), n_steps=15)
    with pytest.raises(ValueError, match="gap"):
        env.reset(options={"start": 10})


def test_a_start_without_a_tape_is_refused() -> None:
    with pytest.raises(ValueError, match="only an environment on a tape has rows to start at"):
        gym.make("AlmgrenChriss-v0").reset(options={"start": 0})


def test_many_environments_on_a_tape_do_what_single_ones_do() -> None:
    options: dict[str, Any] = {"tape": recorded(), "n_steps": 5, "shares": 20_000.0}
    vector = gym.make_vec("AlmgrenChriss-v0", num_envs=3, autoreset_mode="SAME_STEP", **options)
    singles = [gym.make("AlmgrenChriss-v0", **options) for _ in range(3)]
    vector.reset(seed=4)
    for i, env in enumerate(singles):
        env.reset(seed=4 + i)
    for _ in range(7):
        for _ in range(5):
            rewards = vector.step(np.full(3, 4))[1]
            theirs = [env.step(4)[1] for env in singles]
            np.testing.assert_allclose(rewards, theirs, rtol=1e-9)
        for env in singles:
            env.reset()


def test_volume_stamped_at_the_end_of_what_it_counts_is_that_of_the_slice_before(tape_csv: Path) -> None:
    start, end = Tape.read(tape_csv), Tape.read(tape_csv, stamp="end")
    # The last row of each session has no count after it.
    kept = np.r_[np.arange(59), np.arange(60, 119)]
    np.testing.assert_array_equal(end.mid, start.mid[kept])
    np.testing.assert_array_equal(end.volume, start.volume[kept + 1])
    played = make_problem(tape=tape_csv, tape_stamp="end", shares=5e4, n_steps=10).tape
    assert played is not None
    assert played.sha256 == end.sha256 != start.sha256
    frame = pd.read_csv(tape_csv)
    with pytest.raises(ValueError, match="row 2, 'time': .* is earlier than a row before"):
        Tape.from_frame(frame[::-1], stamp="end")
    frame.loc[4, "time"] = "noon"
    with pytest.raises(ValueError, match="row 5, 'time': .* is not a time"):
        Tape.from_frame(frame, stamp="end")
    with pytest.raises(ValueError, match="tape_stamp = 'middle': must be 'start' or 'end'"):
        make_problem(tape=tape_csv, tape_stamp="middle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tape_stamp = 'end': there is no tape"):
        make_problem(tape_stamp="end")
