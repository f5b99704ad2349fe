"""Child orders of live execution: whole lots, limit prices, partial and late fills, and an order taken up again."""

import json
from datetime import datetime, timedelta
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from exec_env.base.errors import InputError
from exec_env.baselines.adaptive import Adaptive
from exec_env.baselines.pov import POV
from exec_env.baselines.twap import TWAP
from exec_env.data.tape import Tape
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.limit_price import LimitPrice
from exec_env.one_asset.live import LiveExecutor, Snapshot
from exec_env.one_asset.options import make_problem
from tests.conftest import recorded_slices

START = datetime(2026, 1, 5, 9, 30)


def message(step: int = 0, **values: Any) -> dict[str, Any]:
    time = (START + step * timedelta(minutes=5)).isoformat()
    return {"time": time, "mid": 100.0, "spread": 0.05, "volume": 60_000.0} | values


def executor(**options: Any) -> LiveExecutor:
    order = Order(**({"shares": 1000.0, "n_steps": 4} | options))
    return LiveExecutor(TWAP(Market(), order), order)


def test_a_child_order_says_its_number_its_clock_and_its_share_of_the_volume() -> None:
    live = executor()
    assert live.answer(message()) == {
        **{"child": 1, "time": "2026-01-05T09:30:00", "until": "2026-01-05T09:35:00", "side": "sell"},
        **{"shares": 250.0, "left": 1000.0, "participation": 250 / 60_000},
    }
    live.filled({"fill": 250, "price": 99.9})
    assert live.answer(message(1, volume=0.0))["participation"] is None


def test_lots_are_whole_carry_their_remainder_and_sum_to_the_order() -> None:
    live, asked = executor(lot_size=100.0, n_steps=8), []
    for step in range(8):
        asked.append(live.answer(message(step), assume_filled=True)["shares"])
    assert asked == [100.0, 100.0, 100.0, 200.0, 100.0, 100.0, 100.0, 200.0]
    assert live.done
    assert live.report()["left"] == 0.0
    live = executor(shares=0.7, lot_size=0.1, n_steps=4)
    asked = [live.answer(message(step), assume_filled=True)["shares"] for step in range(4)]
    assert asked == [0.1, 0.2, 0.2, 0.2]
    assert live.report()["traded"] == 0.7


def test_an_odd_fill_leaves_less_than_a_lot_which_the_report_names() -> None:
    live = executor(lot_size=100.0, shares=400.0, n_steps=2)
    assert live.answer(message())["shares"] == 200.0
    live.filled({"fill": 137, "price": 100.0})
    assert live.answer(message(1))["shares"] == 200.0
    live.filled({"fill": 200, "price": 100.0})
    report = live.report()
    assert (report["done"], report["left"], report["odd"]) == (True, 63.0, 63.0)


@pytest.mark.parametrize(
    ("rule", "sell", "buy"),
    [
        ("touch", 99.97, 100.03),
        ("2", 99.95, 100.05),
        ("-1", 99.98, 100.02),
        ("mid", 100.0, 100.0),
        ("join", 100.02, 99.98),
    ],
)
def test_limit_prices_are_rounded_to_the_tick_on_the_side_that_trades(rule: str, sell: float, buy: float) -> None:
    now, limit = Snapshot(START, mid=100.0, spread=0.05, volume=1.0), LimitPrice.parse(rule)
    assert (limit.of(now, 1.0, 0.01), limit.of(now, -1.0, 0.01)) == (sell, buy)
    assert abs(limit.of(now, 1.0, 0.0) - sell) < 0.01


@pytest.mark.parametrize("rule", ["near", "nan", "1e9", ""])
def test_what_is_no_rule_of_limit_prices_is_refused(rule: str) -> None:
    with pytest.raises(InputError, match=r"limit_price = .*: must be one of touch, mid, join, or bps beyond the touch"):
        LimitPrice.parse(rule)


def test_a_limit_that_is_no_price_refuses_the_snapshot_and_changes_nothing() -> None:
    order = Order(shares=1000.0, n_steps=4)
    live = LiveExecutor(TWAP(Market(), order), order, Market(tick_size=1.0), limit_price=LimitPrice.parse("5"))
    with pytest.raises(InputError, match=r"the limit price would be 0: must be > 0"):
        live.answer(message(mid=0.5))
    assert live.answer(message())["limit"] == 99.0


def test_what_may_still_be_filled_is_not_asked_for_again() -> None:
    live = executor()
    live.answer(message())
    live.filled({"fill": 50, "price": 99.9, "more": True})
    assert live.report()["asked"] == 200.0
    assert live.answer(message(1))["shares"] == 250.0  # a third of the 750 that nobody works at
    live.filled({"fill": 250, "price": 99.9})
    assert live.answer(message(2))["shares"] == 250.0
    live.filled({"fill": 0, "more": True})
    live.filled({"fill": 200, "price": 99.8, "child": 1})  # late, and complete
    assert live.answer(message(3))["shares"] == 250.0
    live.filled({"fill": 250, "price": 99.9})
    assert not live.done  # the third child order may still be filled
    live.filled({"cancelled": True, "child": 3})
    report = live.report()
    assert (report["done"], report["left"], report["traded"]) == (True, 250.0, 750.0)


def test_a_fill_that_comes_after_its_child_order_ended_is_taken_where_its_shares_are_free() -> None:
    live = executor()
    live.answer(message())
    live.filled({"fill": 100, "price": 99.9})
    assert live.answer(message(1))["shares"] == 300.0
    live.filled({"fill": 150, "price": 99.9, "child": 1})
    assert live.remaining == 750.0
    live.filled({"fill": 300, "price": 99.9})
    assert live.answer(message(2))["shares"] == 225.0
    live.filled({"fill": 0})
    assert live.answer(message(3))["shares"] == 450.0  # all
    with pytest.raises(InputError, match=r"of a child order that had ended, and only 0\.0 shares have not been asked"):
        live.filled({"fill": 225, "price": 99.9, "child": 3})
    live.filled({"fill": 450, "price": 99.9})
    assert live.report()["left"] == 0.0


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"fill": 101, "price": 99.9, "child": 1}, r"only 250\.0 were asked for, of which 150\.0 were filled"),
        ({"fill": 1, "price": 99.9, "child": 3}, r"child = 3: must be a whole number from 1 to 2"),
        ({"fill": 1, "price": 99.9, "child": "1"}, r"child = '1': must be a whole number"),
        ({"fill": 1, "price": 99.9, "side": "buy"}, r"side = 'buy': the order's is 'sell'"),
        ({"fill": -1, "price": 99.9}, r"shares = -1: must be a finite number >= 0"),
        ({"fill": 1, "price": 99.9, "more": False}, r"more = False: must be true, or left out"),
        ({"fill": 1, "price": 99.9, "more": True, "cancelled": True}, r"more beside cancelled"),
        ({"fill": 1, "price": 99.9, "id": 7}, r"id = 7: must be a text"),
        ({"fill": 1, "price": 99.9, "id": "a"}, r"id = 'a': is that of another fill"),
    ],
)
def test_a_fill_that_cannot_be_is_refused_in_one_sentence(told: dict[str, Any], why: str) -> None:
    live = executor()
    live.answer(message())
    live.filled({"fill": 150, "price": 99.9, "id": "a"})
    live.answer(message(1))
    before = live.report()
    with pytest.raises(InputError, match=why):
        live.filled(told)
    assert live.report() == before


def test_fees_are_in_the_shortfall_and_named() -> None:
    order, market = Order(shares=1000.0, n_steps=2), Market(taker_fee=1.5)
    live = LiveExecutor(TWAP(market, order), order, market)
    live.answer(message(spread=0.02), assume_filled=True)
    assert live.report()["shortfall_bps"] == pytest.approx(1.0 + 1.5)
    assert live.report()["fees"] == pytest.approx(500 * 100 * 1.5e-4)


def stream(n_steps: int = 4) -> list[dict[str, Any]]:
    lines = []
    for step in range(n_steps):
        lines.append(message(step, mid=100.0 + 0.01 * step))
        lines.append({"fill": 100.0, "price": 99.9, "more": True})
        lines.append({"fill": 80.0, "price": 99.8})
    return lines


class Remembering:
    """Paces more and more: it needs its memory."""

    action_mode = "fraction"

    def initial_state(self, n: int) -> np.ndarray:
        return np.zeros(n)

    def act(self, observations: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 0.2 + 0.05 * state[:, None], state + 1


def tell(live: LiveExecutor, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    said = []
    for line in lines:
        if "fill" in line:
            live.filled(line)
        else:
            said.append(live.answer(line))
    return said


def test_an_order_taken_up_anywhere_from_any_earlier_line_ends_as_if_nothing_had_happened() -> None:
    order, lines = Order(shares=1000.0, n_steps=4, lot_size=10.0), stream()
    whole = LiveExecutor(Remembering(), order)
    said = tell(whole, lines)
    for ended in range(len(lines) + 1):
        first = LiveExecutor(Remembering(), order)
        tell(first, lines[:ended])
        kept = json.loads(json.dumps(first.events, allow_nan=False))
        snapshots = [i for i in range(ended) if "mid" in lines[i]]
        for begin in {0, snapshots[-1] if snapshots else 0}:
            again = LiveExecutor(Remembering(), order)
            again.resume(kept)
            assert again.report() == first.report()
            assert tell(again, lines[begin:]) == said[begin // 3 :]
            assert again.report() == whole.report()
            assert again.events == whole.events
        if not snapshots or ended > snapshots[-1] + 1:
            continue
        # Or it goes on with the line that comes next.
        again = LiveExecutor(Remembering(), order)
        again.resume(kept)
        assert tell(again, lines[ended:]) == said[len(snapshots) :]
        assert again.report() == whole.report()


def test_a_fill_with_an_id_counts_once_however_often_it_is_told() -> None:
    live = executor()
    live.answer(message())
    for _ in range(3):
        live.filled({"fill": 100, "price": 99.9, "id": "x1", "child": 1})
    assert live.remaining == 900.0
    again = executor()
    again.resume(live.events)
    again.filled({"fill": 100, "price": 99.9, "id": "x1", "child": 1})
    assert again.report() == live.report()


def test_a_snapshot_of_before_with_another_fill_than_it_had_is_refused() -> None:
    live = executor()
    tell(live, stream()[:3])
    again = executor()
    again.resume(live.events)
    again.answer(stream()[0])
    with pytest.raises(InputError, match=r"shares = 90\.0 at 99\.9: this child order had 100\.0 at 99\.9 before"):
        again.filled({"fill": 90.0, "price": 99.9, "more": True})
    assert again.report() == live.report()


@pytest.mark.parametrize("baseline", [TWAP, POV, Adaptive])
@pytest.mark.parametrize("options", [{}, {"lot_size": 100.0, "side": "buy", "taker_fee": 1.0}])
def test_a_rehearsal_on_a_tape_fills_as_the_environment_does(baseline: Any, options: dict[str, Any]) -> None:
    problem = make_problem(tape=Tape.from_frame(recorded_slices(60)), shares=100_000.0, n_steps=12, **options)
    agent = baseline(problem.market, problem.order)
    env: Any = gym.make(
        "AlmgrenChriss-v0", tape=problem.tape, shares=100_000.0, n_steps=12, action=baseline.action_mode, **options
    ).unwrapped
    for row in (0, 17):
        live, steps = problem.rehearse(agent, row)
        told = list(steps)
        assert [step["child"] for step in told[::2]] == list(range(1, len(told) // 2 + 1))
        observation, _ = env.reset(options={"start": row})
        theirs, over = [], False
        while not over:
            observation, _, over, _, info = env.step(agent.act(observation[None])[0])
            theirs.append(info)
        assert len(theirs) == len(told) // 2
        for fill, info in zip(told[1::2], theirs, strict=True):
            assert fill["fill"] == pytest.approx(info["shares"] - info["block"], rel=1e-9, abs=1e-9)
            if info["block"] == 0:
                assert fill["price"] == pytest.approx(info["fill_price"], rel=1e-9)
        assert live.report()["left"] == pytest.approx(theirs[-1]["block"], abs=1e-6)
        if theirs[-1]["block"] == 0:
            assert live.report()["shortfall_bps"] == pytest.approx(theirs[-1]["shortfall_bps"], rel=1e-9)


def test_a_rehearsal_needs_a_tape() -> None:
    problem = make_problem()
    with pytest.raises(InputError, match="a rehearsal is on a tape, and there is none"):
        list(problem.rehearse(TWAP(problem.market, problem.order))[1])
