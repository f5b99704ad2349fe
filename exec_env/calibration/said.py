"""What a market file says of the data that it is made of."""

from typing import Any

from exec_env.data.market_file import Parameter
from exec_env.data.ticks import Slices


def sample(slices: Slices) -> dict[str, Any]:
    """Numbers of slices, days and dropped rows, and when they begin and end."""
    frame = slices.frame
    return {
        "slices": len(frame),
        "days": int(slices.day[-1]) + 1,
        "stretches_without_gap": int(slices.new.sum()),
        "first": str(frame["time"].iloc[0]),
        "last": str(frame["time"].iloc[-1]),
        "slice_minutes": slices.slice_length * slices.hours_per_day * 60,
        "hours_per_day": slices.hours_per_day,
        "rows_dropped": dict(slices.cleaner.dropped),
    }


def remarks(slices: Slices, parameters: dict[str, Parameter]) -> list[str]:
    """What a user should know about the data, and about what they show none of."""
    every = [*slices.cleaner.taken, *slices.cleaner.remarks]
    shown = every[:20] + ([f"and {len(every) - 20} more such remarks"] if len(every) > 20 else [])
    if slices.cleaner.dropped:
        shown.insert(0, f"bad rows dropped: {sum(slices.cleaner.dropped.values())}")
    return shown + _hidden(parameters)


def _hidden(parameters: dict[str, Parameter]) -> list[str]:
    """What is zero because the data show none of it, and how much of it they could hide."""
    what = {
        "liquidity_volatility": "no common factor of liquidity shows in volume and spread, so liquidity_volatility is "
        "zero and the noises are all that they vary by",
        "transient_impact": "no push that reverts shows, so transient_impact is zero and permanent_impact all that the "
        "price answers to flow",
    }
    found = []
    for name, words in what.items():
        p = parameters[name]
        if p.value == 0 and p.interval and p.interval[1] > 0:
            found.append(f"{words}; up to {p.interval[1]:.3g} could be hidden")
    return found
