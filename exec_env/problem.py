"""A problem: market, order and where the paths come from; the same for both environments and the harness."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exec_env.actions import ActionMode, get_action_mode
from exec_env.market import Market
from exec_env.order import Order
from exec_env.presets import get_preset, with_overrides
from exec_env.randomise import RandomisedRecording, RandomisedSimulator, Ranges
from exec_env.recording import GIVEN, RecordedSource, Recording
from exec_env.tape import Simulator, Source


@dataclass(frozen=True)
class Problem:
    """What is to be executed, and on which paths."""

    market: Market
    order: Order
    source: Source
    action: ActionMode
    recording: Recording | None = None
    ranges: Ranges | None = None
    """What the market of each path is drawn from; None: all play ``market``."""


def make_problem(
    preset: str = "default",
    tape: Recording | str | Path | None = None,
    tape_columns: dict[str, str] | None = None,
    hours_per_day: float | None = None,
    action: str | ActionMode | None = None,
    levels: Any = None,
    randomise: str | Sequence[str] | None = None,
    **overrides: Any,
) -> Problem:
    """Build a problem from a preset and any fields of Market and Order.

    With a ``tape`` (a Recording, or a CSV file; for a file, ``tape_columns`` and ``hours_per_day`` as in
    ``Recording.from_csv``), averages and slice length are the tape's.

    With ``randomise``, every path plays a market of its own, drawn from ranges around that one: "stress", "parameters",
    or NAME=LOW:HIGH for a field of Market; see ``exec_env.randomise.Ranges``.

    Raises:
        ValueError: one sentence naming the option, its value and what is allowed.
    """
    start = get_preset(preset)
    market, order, recording = start.market, start.order, None
    if tape is not None:
        if not isinstance(tape, Recording | str | Path):
            raise ValueError(f"tape = {tape!r}: must be a Recording or the path of a CSV file")
        reading = {} if hours_per_day is None else {"hours_per_day": hours_per_day}
        recording = tape if isinstance(tape, Recording) else Recording.from_csv(tape, tape_columns, **reading)
        market = recording.market(market)
        for name in overrides:
            if hasattr(market, name) and name not in GIVEN:
                raise ValueError(
                    f"Market.{name} = {overrides[name]!r}: comes from the tape; "
                    f"only {', '.join(sorted(GIVEN))} can be given"
                )
        overrides = {"slice_length": recording.slice_length} | overrides
    elif tape_columns or hours_per_day is not None:
        given = f"tape_columns = {tape_columns!r}" if tape_columns else f"hours_per_day = {hours_per_day!r}"
        raise ValueError(f"{given}: there is no tape")
    market, order = with_overrides(market, order, overrides)
    market.shock_probability(order.slice_length)
    ranges: Ranges | None = None
    if recording is None:
        source: Source = Simulator(market, order)
        if randomise is not None:
            ranges = Ranges.parse(randomise, market)
            source = RandomisedSimulator(market, order, ranges)
    else:
        recording.check(order)
        recording.starts(order)
        source = RecordedSource(recording, market, order)
        if randomise is not None:
            ranges = Ranges.parse(randomise, market, recorded=True)
            source = RandomisedRecording(recording, market, order, ranges)
    if ranges is not None:
        ranges.check(market, order)
    if start.action is not None and levels is None and action in (None, start.action.name):
        action = start.action
    mode = get_action_mode(action or "pace", levels)
    mode.space(order)
    return Problem(market, order, source, mode, recording, ranges)
