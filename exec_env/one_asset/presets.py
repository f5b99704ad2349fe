"""Named problems: a market, an order and the way an agent steers."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from exec_env.base.errors import InputError, UnknownOption
from exec_env.base.validation import unexpected, unknown
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.stress import STRESSES
from exec_env.one_asset.actions import ActionMode


@dataclass(frozen=True)
class Preset:
    """A problem with a name: what ``gym.make(id, preset=name)`` starts from."""

    description: str
    market: Market = field(default_factory=Market)
    order: Order = field(default_factory=Order)
    action: ActionMode | None = None


_QUIET: dict[str, Any] = {
    "liquidity_volatility": 0.0,
    "volume_noise": 0.0,
    "spread_noise": 0.0,
    "impact_noise": 0.0,
    "decay_noise": 0.0,
    "transient_impact": 0.0,
}

# Almgren, Thum, Hauptmann & Li (2005): temporary 0.142 σ (rate / V)^0.6 and permanent 0.314 σ (X / V) (Θ / V)^¼ of the
# price, for Θ shares outstanding. η is quoted at the market's reference rate, a tenth of V.
_SHARES_OUTSTANDING = 1e9
_SCALE = Market.volatility * Market.arrival_price / Market.daily_volume  # [$/share per share/day]
_ALMGREN_2005 = Market(
    impact_exponent=0.6,
    temporary_impact=0.142 * _SCALE * Market.reference_participation ** (0.6 - 1),
    permanent_impact=0.314 * _SCALE * (_SHARES_OUTSTANDING / Market.daily_volume) ** 0.25,
    transient_impact=0.0,
)

# The notebook's impact, not scaled to anything. What differs from it: the small part of temporary impact, 5e-5 of the
# price times the trade's share of the volume, is here that of a price of 100 and of a slice's mean volume; what is left
# at the end is sold on top of the last trade, at a penalty on this impact, there apart from it, at one on the small
# part; volume is lognormal, there normal; and a fill has no noise of its own (``slippage_noise``).
_NOTEBOOK_VOLUME, _NOTEBOOK_PUSH = 2e6, 1e-6  # shares a slice; $/share per share, lasting

_SCALED_BY = ("arrival_price", "volatility", "daily_volume")
IMPACTS = ("temporary_impact", "permanent_impact", "transient_impact")
"""Fields of Market that follow σ S0 / V where they are not given."""

PRESETS: dict[str, Preset] = {
    "default": Preset("4 % of daily volume in 40 slices of five minutes; liquidity, spread, impact random"),
    "classic": Preset(
        "no randomness but the price, no transient impact, no cap: the closed form is exactly optimal",
        Market(**_QUIET),
        Order(max_participation=None),
    ),
    "almgren-chriss-2001": Preset(
        "worked example of Almgren & Chriss (2001), section 3.4: a million shares in five days",
        Market(
            arrival_price=50.0,
            volatility=0.95 / 50.0,
            half_spread=12.5,
            daily_volume=5e6,
            temporary_impact=2.5e-6,
            permanent_impact=2.5e-7,
            **_QUIET,
        ),
        Order(shares=1e6, n_steps=5, slice_length=1.0, risk_aversion=1e-6, max_participation=None),
    ),
    "coordinated": Preset(
        "the default problem, but variance rises with volume, as where both come with news: Almgren (2012)",
        Market(volatility_elasticity=0.5),
    ),
    "almgren-2005": Preset(
        "the default problem with the impact of Almgren et al. (2005): power 0.6, none that decays",
        _ALMGREN_2005,
    ),
    "participation-notebook": Preset(
        "100 000 shares against 2e6 ± 5e5 shares of volume a slice, cap 20 %, seven participation levels",
        Market(
            volatility=0.02,
            half_spread=5.0,
            daily_volume=_NOTEBOOK_VOLUME * 78,
            # A trade pays its own lasting push, and 5e-5 of the price times its share of the volume.
            temporary_impact=(_NOTEBOOK_PUSH + 5e-5 * 100.0 / _NOTEBOOK_VOLUME) / 78,
            permanent_impact=_NOTEBOOK_PUSH,
            # Log standard deviation of a lognormal volume whose standard deviation is a quarter of its mean.
            **(_QUIET | {"volume_noise": 0.24622067706923975}),
        ),
        Order(shares=1e5, max_participation=0.20),
        ActionMode("participation-levels", tuple(0.20 * i / 6 for i in range(7))),
    ),
    "constrained-rl": Preset(
        "1000 shares in 20 periods, η = 0.01 and γ = 0.001 $/share per share per period, OU liquidity",
        Market(
            daily_volume=20_000.0,
            temporary_impact=0.01 / 20,
            permanent_impact=0.001,
            transient_impact=0.0,
            # Half the default: where liquidity makes temporary impact smaller than permanent impact, no bound exists.
            liquidity_volatility=0.3,
        ),
        Order(shares=1000.0, n_steps=20, slice_length=1 / 20, risk_aversion=1e-3),
    ),
}


# The default problem under each stress: half-way, but shocks that come at random and revert come from the start.
PRESETS |= {
    name: Preset(
        f"the default problem, but {stress.description}{'' if stress.shock_rate else ' half-way'}",
        Market(stress=name, stress_onset=0.0 if stress.shock_rate else Market.stress_onset),  # type: ignore[arg-type]
    )
    for name, stress in STRESSES.items()
    if name != "none"
}
PRESETS["regime-switching"] = Preset(
    "the default problem, but twice a day, for a sixth of a day on average, liquidity is × 0.3 and volatility × 2",
    Market(regime_rate=2.0),
)


def get_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: with the nearest known name.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise InputError(unknown("preset", name, PRESETS))
    return PRESETS[name]


def impact_following(market: Market, given: Mapping[str, Any]) -> dict[str, float]:
    """Impact that is not ``given`` where price, volatility or volume are, by σ S0 / V; nothing where that is the same.

    Raises:
        InputError: for a value that its field refuses.

    >>> impact_following(Market(), {"arrival_price": 50.0, "permanent_impact": 1e-7})
    {'temporary_impact': 8e-08, 'transient_impact': 3e-07}
    """
    changed = dataclasses.replace(market, **{name: given[name] for name in _SCALED_BY if name in given})
    scaled = market.rescaled(*(getattr(changed, name) for name in _SCALED_BY))
    return {
        name: getattr(scaled, name)
        for name in IMPACTS
        if name not in given and getattr(scaled, name) != getattr(market, name)
    }


def with_overrides(
    market: Market, order: Order, overrides: Mapping[str, Any], known: Collection[str] = (), held: bool = False
) -> tuple[Market, Order]:
    """``market`` and ``order`` with fields replaced by name, whichever of the two has the field.

    Args:
        market: the market.
        order: the order.
        overrides: values by name.
        known: other options, among which the nearest to an unknown name is looked for.
        held: whether impact stays as it is; if not, impact that is not among ``overrides`` follows σ S0 / V.

    Raises:
        UnknownOption: for a name that neither has.
        InputError: for a value that its field refuses.
    """
    ours = {f.name for f in dataclasses.fields(Market)}
    theirs = {f.name for f in dataclasses.fields(Order)}
    for name in overrides:
        if name not in ours | theirs:
            raise UnknownOption(unexpected("make_problem", name, ours | theirs | set(known)))
    given = {k: v for k, v in overrides.items() if k in ours}
    followed: dict[str, Any] = {} if held else impact_following(market, given)
    return (
        dataclasses.replace(market, **given, **followed),
        dataclasses.replace(order, **{k: v for k, v in overrides.items() if k in theirs}),
    )
