"""Options of the unknown market: from fields of market and order to an ``UnknownMarket``."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from exec_env.base.errors import InputError
from exec_env.base.importing import imported
from exec_env.base.validation import from_mapping, require, require_count
from exec_env.envs.features import check_features
from exec_env.envs.reward import Reward
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.actions import ActionMode, get_action_mode
from exec_env.one_asset.presets import with_overrides
from exec_env.unknown_market.observation import UnknownObservation
from exec_env.unknown_market.problem import UnknownMarket

_KNOWN: dict[str, Any] = {
    **dict.fromkeys(("liquidity_volatility", "spread_noise", "decay_noise", "shock_rate", "shock_size"), 0.0),
    **dict.fromkeys(("signal", "signal_volatility", "regime_rate", "overnight_variance", "night_length"), 0.0),
    "stress": "none",
    "impact_exponent": 1.0,
    "volume_profile": "flat",
}
"""Fields of Market and what they are: who knows the impact then knows the optimum, for every market at once."""

MARKET = Market(liquidity_volatility=0.0, spread_noise=0.0, decay_noise=0.0, volume_noise=0.0)
"""The default market, in which nothing is random but the price and the impact of each trade."""
ORDER = Order(shares=100_000.0, n_steps=20, risk_aversion=5e-6, max_participation=None)
"""Each order: 2 % of a day's volume in 100 minutes, by a trader who minds risk enough for impact to matter."""
OPTIONS = (
    *("orders", "parameter_spread", "market", "order", "action", "levels", "reward", "violation_penalty"),
    *("smoothness_penalty", "features", *(f.name for part in (Market, Order) for f in fields(part))),
)
"""What ``make_problem`` takes."""


def make_problem(
    *,
    orders: int = 10,
    parameter_spread: float = 0.7,
    market: Market | None = None,
    order: Order | None = None,
    action: str | ActionMode = "fraction",
    levels: Any = None,
    reward: str | Callable[[Any], Any] = "expected",
    violation_penalty: float = 0.0,
    smoothness_penalty: float = 0.0,
    features: Mapping[str, Any] | None = None,
    **options: Any,
) -> UnknownMarket:
    """Build the problem from any fields of Market and Order.

    Args:
        orders: M, how many orders an episode has.
        parameter_spread: log standard deviation that η, γ and κ are drawn with, around the market's as their means; 0:
            the market is known.
        market: in the place of ``MARKET``.
        order: in the place of ``ORDER``.
        action: as of one asset, like the rest.
        levels: likewise.
        reward: likewise.
        violation_penalty: likewise.
        smoothness_penalty: likewise.
        features: likewise.
        **options: fields of Market and Order; impact that is not given follows σ S0 / V.

    Raises:
        InputError: one sentence naming the option, its value and what is allowed.
        UnknownOption: for an option that is none.
    """
    require_count(high=1000, orders=orders)
    require(0.0, parameter_spread=parameter_spread)
    if parameter_spread > 2.0:
        raise InputError(f"parameter_spread = {parameter_spread!r}: must be in [0, 2]")
    parts = (_given(Market, market, MARKET, "market"), _given(Order, order, ORDER, "order"))
    mean, each = with_overrides(*parts, options, OPTIONS)
    for name, wanted in _KNOWN.items():
        if (value := getattr(mean, name)) != wanted:
            raise InputError(f"Market.{name} = {value!r}: must be {wanted!r} where impact is not told")
    if mean.temporary_impact <= 0:
        raise InputError(
            f"Market.temporary_impact = {mean.temporary_impact!r}: must be above 0: there is none to learn"
        )
    if each.risk_aversion < 0:
        raise InputError(f"Order.risk_aversion = {each.risk_aversion!r}: must be >= 0 where impact is not told")
    mode = get_action_mode(action, levels)
    mode.space(each)
    names = UnknownObservation._fields
    return UnknownMarket(
        mean,
        each,
        int(orders),
        float(parameter_spread),
        mode,
        Reward(_function(reward, "reward"), violation_penalty, smoothness_penalty),
        check_features(_functions(features), names),
    )


def _given(cls: type[Any], value: Any, default: Any, name: str) -> Any:
    """A market or an order, also from its fields, as a run folder keeps it; the default where none is given."""
    if isinstance(value, Mapping):
        value = from_mapping(cls, dict(value), name)
    if value is not None and not isinstance(value, cls):
        raise InputError(f"{name} = {value!r}: must be a {cls.__name__}")
    return default if value is None else value


def _function(value: Any, what: str) -> Any:
    """A function from its import path; anything else as it is."""
    return imported(value, what) if isinstance(value, str) and ":" in value else value


def _functions(features: Any) -> Any:
    if not isinstance(features, Mapping):
        return features
    return {name: _function(value, f"features: {name}") for name, value in features.items()}
