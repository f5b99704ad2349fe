"""What is said of a cost: an order that the cap does not let finish, and fills below zero."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exec_env.harness import evaluate
from exec_env.market.execution import Slice, State, Terms, block_cost, temporary_cost, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset import remarks
from exec_env.one_asset.presets import PRESETS

NOW = Slice(
    **{"log_liquidity": 0.0, "half_spread": 0.02, "volume": 1000.0, "variance": 0.04, "drift": 0.3},
    **{"temporary": 1e-5, "permanent": 2e-6, "decay": 0.9, "price_shock": 0.5, "slippage": 0.01},
)


@pytest.mark.parametrize("exponent", [1.0, 0.6])
@pytest.mark.parametrize("penalty", [1.0, 5.0])
def test_the_block_costs_what_its_owner_pays_more_than_who_has_only_the_last_trade(
    exponent: float, penalty: float
) -> None:
    fixed, now = Terms(3e-6, 1e-6, 0.3, penalty), NOW._replace(exponent=exponent)
    with_block, alone = (State(x, 0.004, 0.0, 0.0) for x in (700.0, 300.0))
    (_, more), (_, less) = (trade(state, now, 1e9, fixed, True) for state in (with_block, alone))
    assert (more.shares, more.block, less.block) == (700.0, 400.0, 0.0)
    cost = block_cost(with_block, now, more, fixed)
    assert cost == pytest.approx(more.shortfall - less.shortfall, rel=1e-12)
    assert cost == pytest.approx(more.objective - less.objective, rel=1e-12)
    assert block_cost(alone, now, less, fixed) == 0.0


def test_a_block_on_a_walked_book_costs_its_levels() -> None:
    now = NOW._replace(levels=((500.0, 0.0), (1000.0, 0.1)), half_spread=0.0, permanent=0.0, slippage=0.0)
    state, fixed = State(700.0, 0.0, 0.0, 0.0), Terms(0.0, 0.0, 0.3, 1.0)
    _, fill = trade(state, now, 1e9, fixed, True)
    assert block_cost(state, now, fill, fixed) == pytest.approx(200 * 0.1)


TOO_LARGE: dict[str, Any] = {
    **{"shares": 250_000, "arrival_price": 40.0, "daily_volume": 3e6, "volatility": 0.018},
    **{"half_spread": 1.5, "n_steps": 24},
}
"""An even pace is 27 % of the mean volume, and the cap 30 % of each slice's."""


@pytest.mark.long
def test_an_order_that_the_cap_does_not_let_finish_is_said_with_its_paths_and_its_cost() -> None:
    capped = evaluate(["twap", "almgren-chriss"], episodes=2000, n_examples=0, **TOO_LARGE)
    (line,) = [remark for remark in capped.remarks if remark.startswith("the cap does not let the order finish: ")]
    paths = capped.per_path[capped.per_path["agent"] == "twap"]
    left = paths["shares_left"] > 1e-6 * TOO_LARGE["shares"]
    bps = 1e4 * paths["block_cost"].mean() / (TOO_LARGE["shares"] * 40.0)
    said = f"twap in {100 * left.mean():.3g} % of paths, its closing block being {bps:,.0f} of "
    assert said in line
    assert "; almgren-chriss in " in line
    assert line in capped.table()
    assert (paths["block_cost"] > 0).equals(left)
    free = evaluate(["twap"], episodes=2000, n_examples=0, max_participation=None, **TOO_LARGE)
    assert not any("does not let" in remark for remark in free.remarks)
    assert (free.per_path["block_cost"] == 0).all()
    # Most of what the cap costs is the block.
    difference = capped.per_agent["objective_mean"]["twap"] - free.per_agent["objective_mean"]["twap"]
    assert bps == pytest.approx(difference, rel=0.2)


@pytest.mark.slow
def test_little_is_not_said() -> None:
    """Of TWAP's 24.7 bps on the default problem the block is less than a hundredth."""
    assert not any("does not let" in remark for remark in evaluate(["twap"], episodes=1000).remarks)
    assert remarks.unfinished({"one": (0.05, 0.1, 24.7)}) == []
    assert remarks.unfinished({"one": (0.05, 0.1, 24.7), "other": (0.956, 168.4, 193.6)}) == [
        "the cap does not let the order finish: other in 95.6 % of paths, its closing block being 168 of 194 bps of J"
    ]


class Idle:
    """Leaves all to the closing block, of its own will."""

    action_mode = "shares"

    def act(self, observations: np.ndarray) -> np.ndarray:
        return np.zeros((len(observations), 1))


def test_what_an_agent_leaves_by_itself_is_not_the_caps() -> None:
    found = evaluate(["twap", Idle()], episodes=20)
    assert found.per_agent["shares_left"]["idle"] == 200_000
    assert not any("does not let" in remark and "idle" in remark for remark in found.remarks)


def test_on_a_tape_the_blocks_cost_is_of_each_episodes_price() -> None:
    frame = pd.DataFrame({"agent": ["twap", "twap"], "block_cost": [10.0, 0.0], "objective": [20.0, 20.0]})
    assert remarks.unfinished_on(frame, np.array([1e4, 1e9])) == [
        "the cap does not let the order finish: twap in 50 % of paths, its closing block being 5 of 20 bps of J"
    ]


def test_the_lowest_fill_of_an_even_pace_by_hand() -> None:
    market = PRESETS["classic"].market
    order = Order(shares=1000.0, n_steps=2, max_participation=None)
    alone = 100 - 0.01 - 1.6e-7 * 78 * 500
    assert remarks.lowest_fill(market, order) == pytest.approx(alone - 2.5e-7 * 500, rel=1e-12)
    assert remarks.lowest_fill(market, replace(order, side="buy")) == pytest.approx(100.01 + 1.6e-7 * 78 * 500)
    # All of it in the first slice.
    once = remarks.lowest_fill(market, order, np.array([1000.0, 0.0]))
    assert once == pytest.approx(100 - 0.01 - 1.6e-7 * 78 * 1000, rel=1e-12)


def test_fills_below_zero_are_said_for_sales_alone() -> None:
    (line,) = remarks.below_zero(Market(), Order(shares=1e9, max_participation=None))
    assert line.startswith("fills below zero: impact takes the price from 100 to -")
    assert "a sale cannot lose more than 10,000 bps" in line
    assert remarks.below_zero(Market(), Order(shares=1e9, max_participation=None, side="buy")) == []
    assert remarks.below_zero(Market(stress="extreme-shock"), Order()) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_has_fills_below_zero(preset: str) -> None:
    assert remarks.below_zero(PRESETS[preset].market, PRESETS[preset].order) == []


@pytest.mark.slow
def test_the_table_says_where_prices_are_below_zero() -> None:
    large = evaluate(["twap"], episodes=50, shares=1_000_000_000)
    assert any(remark.startswith("average prices below zero: twap in 100 % of paths") for remark in large.remarks)
    assert any(remark.startswith("fills below zero") for remark in large.remarks)
    cheap = evaluate(["twap"], episodes=50, arrival_price=0.0001)
    assert not any("below zero" in remark for remark in cheap.remarks)
    assert cheap.per_agent["shortfall_mean"]["twap"] < 100
    held = {"temporary_impact": 1.6e-7, "permanent_impact": 2.5e-7, "transient_impact": 6e-7}
    dear = evaluate(["twap"], episodes=50, arrival_price=0.0001, **held)
    assert sum("below zero" in remark for remark in dear.remarks) == 2


def test_temporary_cost_of_the_block_grows_with_its_penalty() -> None:
    state, (one, five) = State(700.0, 0.0, 0.0, 0.0), (Terms(0.0, 0.0, 0.3, penalty) for penalty in (1.0, 5.0))
    costs = [block_cost(state, NOW, trade(state, NOW, 1e9, fixed, True)[1], fixed) for fixed in (one, five)]
    assert costs[1] - costs[0] == pytest.approx(4 * temporary_cost(1e-5, 400.0, 1.0))
