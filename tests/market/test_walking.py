"""Fills that walk a recorded book: solved by hand, convex, the same everywhere, and what is refused."""

from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exec_env import ActionMode, Tape
from exec_env.data.tick_sums import walk
from exec_env.harness import evaluate
from exec_env.market.execution import COMPONENTS, Slice, State, Terms, opening, trade, walking_cost
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.torch_market import TorchMarket
from tests.conftest import play

LEVELS = ((10.0, 0.0), (20.0, 0.5), (5.0, 2.0))
NOW = Slice(0.0, 0.02, 1000.0, 0.0, 0.0, 0.001, 0.0, 1.0, 0.0, 0.0, levels=LEVELS)
TERMS = Terms(transient_impact=0.0, risk_aversion=0.0, max_participation=None, terminal_penalty=5.0)


def frame(rows: int = 60) -> pd.DataFrame:
    """Slices of five minutes with four levels on each side, the deepest of about 2000 shares."""
    rng = np.random.default_rng(0)
    mid, spread = 50.0 + 0.05 * np.cumsum(rng.standard_normal(rows)), rng.uniform(0.01, 0.03, rows)
    data = pd.DataFrame(
        {
            "time": pd.date_range("2024-01-02 09:30", periods=rows, freq="5min"),
            "mid": mid,
            "spread": spread,
            "volume": rng.uniform(50_000.0, 150_000.0, rows),
        }
    )
    for side, sign in (("bid", -1), ("ask", 1)):
        price = mid + sign * spread / 2
        for i in range(4):
            data[f"{side}_price_{i}"], data[f"{side}_size_{i}"] = price, rng.uniform(100.0, 2000.0, rows)
            price = price + sign * rng.uniform(0.0, 0.02, rows)
    return data


def mirrored(data: pd.DataFrame) -> pd.DataFrame:
    """The book with bids and asks in each other's place."""
    new = data.copy()
    for i in range(4):
        for side, other in (("bid", "ask"), ("ask", "bid")):
            new[f"{side}_price_{i}"] = 2 * data["mid"] - data[f"{other}_price_{i}"]
            new[f"{side}_size_{i}"] = data[f"{other}_size_{i}"]
    return new


def options(data: pd.DataFrame | None = None, **more: Any) -> dict[str, Any]:
    tape = Tape.from_frame(frame() if data is None else data)
    return {"tape": tape, "fills": "book", "n_steps": 6, "shares": 12_000.0} | more


@pytest.mark.parametrize(
    ("shares", "cost"),
    [
        (0.0, 0.0),
        (10.0, 0.0),
        (20.0, 5.0),  # 10 · 0.5
        (33.0, 16.0),  # 20 · 0.5 + 3 · 2
        (35.0, 20.0),
        (45.0, 20.0 + 10 * 2 + 10 * 10 * (2 / 35) / 2),  # on with a slope of 2 $ in 35 shares
    ],
)
def test_walking_a_book_of_three_levels_solved_by_hand(shares: float, cost: float) -> None:
    assert walking_cost(LEVELS, shares) == pytest.approx(cost)
    _, fill = trade(State(100.0, 0.0, 0.0, 0.0), NOW, shares, TERMS, False)
    assert fill.temporary == pytest.approx(cost)
    assert fill.spread == pytest.approx(0.02 * shares)
    assert fill.shortfall == pytest.approx(cost + 0.02 * shares)


def test_the_closing_block_walks_on_from_the_last_trade_and_anew_at_the_penalty_less_once() -> None:
    _, fill = trade(State(40.0, 0.0, 0.0, 0.0), NOW, 20.0, TERMS, True)
    assert fill.temporary == pytest.approx(20.0 + 5 * 2 + 5 * 5 * (2 / 35) / 2 + 4 * 5.0)  # of 40, four times of 20


_SIZES = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), min_size=1, max_size=6)


@given(levels=_SIZES, v=st.lists(st.floats(0, 1000), min_size=3, max_size=3))
def test_the_cost_is_convex_and_never_falls(levels: list[tuple[float, float]], v: list[float]) -> None:
    sizes, steps = zip(*levels, strict=True)
    book = ((1.0, 0.0), *zip(sizes, np.cumsum(steps).tolist(), strict=True))
    low, middle, high = sorted(v)
    a, b, c = (walking_cost(book, x) for x in (low, middle, high))
    tolerance = 1e-9 * (1 + c)
    assert -tolerance <= a <= b + tolerance <= c + 2 * tolerance
    assert b * (high - low) <= a * (high - middle) + c * (middle - low) + tolerance * (1 + high)


def test_it_costs_what_calibration_finds_in_the_same_book() -> None:
    data = frame(5).rename(columns=lambda name: name[:-1] + str(int(name[-1]) + 1) if name[-1].isdigit() else name)
    slope = np.zeros(5)
    for side in ("bid", "ask"):
        price, size = (data[[f"{side}_{what}_{i}" for i in range(1, 5)]].to_numpy() for what in ("price", "size"))
        book = tuple(zip(size.T, abs(price - price[:, :1]).T, strict=True))
        taken = size.cumsum(1)
        cost = np.stack([walking_cost(book, v) for v in taken.T], 1)
        slope += cost.sum(1) / (taken**2).sum(1) / 2
    np.testing.assert_allclose(slope, walk(data)["slope"], rtol=1e-9)


@pytest.mark.parametrize("side", ["sell", "buy"])
def test_components_add_up_to_the_shortfall_where_the_book_is_walked(side: str) -> None:
    env = gym.make("AlmgrenChriss-v0", **options(side=side))
    steps = play(env, lambda _: 6, seed=2)
    assert sum(s["temporary"] for s in steps) > 0
    total = sum(step[name] for step in steps for name in COMPONENTS)
    assert steps[-1]["shortfall_bps"] == pytest.approx(total, rel=1e-9)


def test_a_sell_hits_the_bids_and_a_buy_on_the_mirrored_book_costs_the_same() -> None:
    data = frame()
    sell = play(gym.make("AlmgrenChriss-v0", **options(data)), lambda _: 4, seed=1)
    buy = play(gym.make("AlmgrenChriss-v0", **options(mirrored(data), side="buy")), lambda _: 4, seed=1)
    other = play(gym.make("AlmgrenChriss-v0", **options(data, side="buy")), lambda _: 4, seed=1)
    ours, theirs, asks = ([step["temporary"] for step in steps] for steps in (sell, buy, other))
    assert ours == pytest.approx(theirs, rel=1e-9)
    assert ours != pytest.approx(asks, rel=1e-2)
    best = data["bid_price_0"].to_numpy()
    assert min(abs(best - (sell[0]["mid"] - data["spread"].to_numpy() / 2))) < 1e-9


def test_single_vector_and_torch_markets_walk_the_same_book() -> None:
    problem, n = make_problem(**options(action="fraction")), 5
    single = gym.make("AlmgrenChriss-v0", **options(action="fraction"))
    many = gym.make_vec("AlmgrenChriss-v0", num_envs=n, **options(action="fraction"))
    fractions = [0.1, 0.3, 0.9, 0.2, 0.5, 1.0]
    many.reset(seed=3)
    infos = [many.step(np.full((n, 1), f, np.float32))[4] for f in fractions]
    vector = infos[-1]["shortfall_bps"]
    for e in range(n):
        steps = play(single, lambda o: np.array([fractions[6 - round(6 * o[0])]], np.float32), seed=3 + e)
        assert steps[-1]["shortfall_bps"] == pytest.approx(vector[e], rel=1e-9)
    device = TorchMarket(problem.market, problem.order, dtype=torch.float64)
    paths = problem.source.sample([np.random.default_rng(3 + e) for e in range(n)])
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)

    def policy(seen: torch.Tensor) -> torch.Tensor:
        return scale * torch.tensor(
            [fractions[6 - round(6 * left)] for left in seen[:, 0].tolist()], dtype=torch.float64
        )

    costs = device.costs(policy, device.load(paths.by_slice()), ActionMode("fraction")).shortfall
    np.testing.assert_allclose(costs.detach(), vector, rtol=1e-6)  # the environment's actions are of single precision
    costs.sum().backward()
    assert scale.grad is not None
    assert torch.isfinite(scale.grad)
    assert scale.grad != 0


def test_the_gradient_is_the_distance_of_the_level_that_is_reached() -> None:
    v = torch.tensor([5.0, 20.0, 32.0, 45.0], dtype=torch.float64, requires_grad=True)
    walking_cost(LEVELS, v).sum().backward()
    assert v.grad is not None
    np.testing.assert_allclose(v.grad, [0.0, 0.5, 2.0, 2.0 + 10 * 2 / 35])


def test_stress_shrinks_levels_and_makes_impact_dearer() -> None:
    def slices(**stress: Any) -> Any:
        problem = make_problem(**options(stress_onset=0.0, **stress) if stress else options())
        return problem.source.sample([np.random.default_rng(0)], 3).slices

    calm, v = slices(), 3000.0 + np.zeros((3, 6))
    collapse, shift = slices(stress="liquidity-collapse"), slices(stress="impact-regime-shift")
    np.testing.assert_allclose(walking_cost(collapse.levels, v), 0.2 * walking_cost(calm.levels, v / 0.2))
    np.testing.assert_allclose(walking_cost(shift.levels, v), 3 * walking_cost(calm.levels, v))


def test_levels_are_read_by_arithmetic_with_their_numbers() -> None:
    data = frame()
    distances = {
        f"{side}_{i}": data[f"{side}_price_{i}"] / data["mid"] - 1 for side in ("bid", "ask") for i in range(4)
    }
    sizes = {f"{side}_usd_{i}": data[f"{side}_size_{i}"] * data["mid"] for side in ("bid", "ask") for i in range(4)}
    other = data[["time", "mid", "spread", "volume"]].assign(**distances, **sizes)
    columns = {f"{side}_price_#": f"mid * (1 + {side}_#)" for side in ("bid", "ask")}
    columns |= {f"{side}_size_#": f"{side}_usd_# / mid" for side in ("bid", "ask")}
    read, plain = Tape.from_frame(other, columns).levels, Tape.from_frame(data).levels
    assert read is not None
    for name, column in vars(plain).items():
        np.testing.assert_allclose(getattr(read, name), column, rtol=1e-12)


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("bid_price_0", 60.0, r"row 4, 'bid': 60\.0 is above the ask"),
        ("ask_price_2", 40.0, r"row 4, 'ask_price_3': 40\.0 is nearer to the mid than the level before"),
        ("bid_size_1", -1.0, r"row 4, 'bid_size_2': -1\.0 must be >= 0"),
        ("ask_size_3", np.nan, r"row 4, 'ask_size_4': nan is not a finite number"),
        ("mid", 49.0, "row 4, 'bid_price_1': .* is on the other side of 'mid', 49"),
    ],
)
def test_a_book_that_cannot_be_is_refused_by_column_and_row(column: str, value: float, why: str) -> None:
    data = frame()
    data.loc[3, column] = value
    with pytest.raises(ValueError, match=f"recording: {why}"):
        Tape.from_frame(data)


def test_a_book_without_a_slope_or_without_levels_is_refused() -> None:
    one = frame().drop(columns=[f"{s}_{w}_{i}" for s in ("bid", "ask") for w in ("price", "size") for i in (1, 2, 3)])
    with pytest.raises(ValueError, match="is the price of every level: the book has no slope"):
        Tape.from_frame(one)
    bare = frame()[["time", "mid", "spread", "volume"]]
    with pytest.raises(ValueError, match="fills = 'book': needs the levels of the book, columns bid_price_#"):
        make_problem(**options(bare))
    with pytest.raises(ValueError, match="fills = 'walk': must be 'impact' or 'book'"):
        make_problem(**options(fills="walk"))
    with pytest.raises(ValueError, match="fills = 'book': there is no tape"):
        make_problem(fills="book")
    with pytest.raises(ValueError, match="'bid_price_#' as 'bid_#' is missing"):
        Tape.from_frame(frame(), {"bid_price_#": "bid_#"})


def test_the_table_says_how_often_trades_went_beyond_the_book() -> None:
    found = evaluate(["twap"], episodes=40, **options(shares=30_000.0))
    sizes = found.problem.tape.levels.bid_size.sum(1)  # type: ignore[union-attr]
    rows = found.per_path["row"].to_numpy()[:, None] + np.arange(6)
    share = 100 * (sizes[rows] < 5000.0).mean()
    assert 0 < share < 100
    (line,) = [line for line in found.remarks if "beyond the last recorded level" in line]
    assert line.endswith(f"twap {share:.2g} %")
    assert "beyond_book" not in evaluate(["twap"], episodes=5, **options(fills="impact")).per_path


def test_without_levels_the_opening_slice_is_as_it_was() -> None:
    _, fill = trade(opening(40.0), NOW._replace(levels=()), 20.0, TERMS, False)
    assert fill.temporary == pytest.approx(0.001 * 20**2)
