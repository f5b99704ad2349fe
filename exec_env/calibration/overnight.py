"""Nights: their variance over a session's, and their length."""

import numpy as np

from exec_env.base.jackknife import Estimate
from exec_env.calibration.evidence import Evidence
from exec_env.data.slices import NIGHT, Slices, steps_of

_FEWEST = 5  # nights before anything is said of them


def evidence(slices: Slices, volatility: Estimate) -> dict[str, Evidence]:
    """What slices of several sessions say of the nights between them; nothing where these are fewer than five.

    The move over a night is seen from the last mid of a session, at the start of its last slice, so that the variance
    of a slice is taken off. Weekends and holidays are nights too.

    Args:
        slices: with a mid.
        volatility: σ of a session. [1/√day]
    """
    steps = steps_of(slices.frame)
    after = np.flatnonzero(steps > NIGHT)
    if len(after) < _FEWEST or slices.daily or not volatility.value > 0:
        return {}
    log, session = np.log(slices.frame["mid"].to_numpy()), volatility.value**2
    squares = (log[after + 1] - log[after]) ** 2
    value = float(squares.mean() / session - slices.slice_length)
    own = float(squares.std(ddof=1)) / len(after) ** 0.5 / session
    of_session = 2 * volatility.error / volatility.value * (value + slices.slice_length)
    length = float(np.median(steps[after])) / (3600 * slices.hours_per_day) - slices.slice_length
    return {
        "overnight_variance": Evidence(
            Estimate(value, float(np.hypot(own, of_session))), f"mean square of the moves over {len(after)} nights"
        ),
        "night_length": Evidence(Estimate(length, 0.0), "median from a session's end to the next one's beginning"),
    }
