"""Stress tests of the one-asset problem: every stress, at any severity, and a poor regime."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from exec_env.base.errors import InputError
from exec_env.base.validation import listed, require, shown, unknown
from exec_env.envs.scenario import NORMAL, Scenario
from exec_env.market.market import Market
from exec_env.market.stress import STRESSES
from exec_env.one_asset.presets import PRESETS

SWITCHING = "regime-switching"
NAMES = (NORMAL, *(name for name in STRESSES if name != "none"), SWITCHING)
"""Regimes that agents are put under."""
CALM = {f.name: f.default for f in fields(Market) if f.name.startswith(("stress", "regime_"))}
"""What a market without stress has."""
VARIED = ("stress", "stress_factor", "stress_onset", "stress_onset_end", "regime_rate")
"""Options that scenarios give."""


def calm(market: Market, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that take stress and regimes out of ``market``, and out of ``options`` over it."""
    given = {**vars(market), **options}
    return {name: default for name, default in CALM.items() if given[name] != default}


def scenarios(
    regimes: Sequence[str] = NAMES,
    severities: Sequence[float] = (),
    onset: float | None = None,
    onset_end: float | None = None,
) -> list[Scenario]:
    """Regimes by name, each at its own severity or at all of those given.

    Args:
        regimes: of ``NAMES``.
        severities: factors. Of liquidity (of what a shock leaves of it, of liquidity in the poor regime), volatility or
            impact, whichever the regime multiplies.
        onset: part of the horizon after which a stress begins; None: as in the preset of its name, which is half-way,
            but for shocks, which come from the start.
        onset_end: the onset is uniform between ``onset`` and this; None: it is fixed.

    Raises:
        InputError: for an unknown regime, one that is named twice, or none; for impossible severities and onsets.

    >>> [s.label for s in scenarios(["normal", "liquidity-collapse"], [0.5, 0.1])]
    ['normal', 'liquidity-collapse × 0.5', 'liquidity-collapse × 0.1']
    """
    found = []
    severities = listed("severities", "a list of numbers", severities)
    for factor in severities:
        require(severity=factor)
    for name in listed("regimes", "a list of names", regimes):
        if name not in NAMES:
            raise InputError(unknown("regime", name, NAMES))
        if name == NORMAL:
            found.append(Scenario(name, None, {}, name, told=False))
            continue
        for factor in severities or (None,):
            options: dict[str, Any]
            if name == SWITCHING:
                options = {"regime_rate": 2.0} | ({} if factor is None else {"regime_liquidity": factor})
            else:
                begins = PRESETS[name].market.stress_onset if onset is None else onset
                options = {"stress": name, "stress_onset": begins, "stress_onset_end": onset_end}
                options |= {} if factor is None else {"stress_factor": factor}
            label = name if factor is None else f"{name} × {factor:g}"
            # The poor regime keeps what is said of it.
            keeps = tuple(k for k in CALM if k.startswith("regime_")) if name == SWITCHING else ()
            found.append(Scenario(name, factor, options, label, keeps=keeps))
    if not found:
        raise InputError(f"no regimes: name at least one of {', '.join(NAMES)}")
    for factor in severities:
        try:
            Market(stress="liquidity-collapse", stress_factor=factor)
        except InputError as error:
            allowed = str(error).partition(": ")[2].removesuffix(", or None")
            raise InputError(f"severity = {shown(factor)}: {allowed}") from None
    labels = [s.label for s in found]
    for scenario in found:
        if labels.count(scenario.label) > 1:
            raise InputError(f"regime {scenario.label!r} is named twice")
        Market(**scenario.options)  # refuses onsets that cannot be
    return found
