"""A problem: market, order and where the paths come from; the same for both environments and the harness."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from exec_env.base.errors import InputError
from exec_env.data.episodes import TapeSource
from exec_env.data.market_file import MarketFile
from exec_env.data.slices import Stamp
from exec_env.data.split import Part, Split, check_part
from exec_env.data.tape import GIVEN, Fills, Tape
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Simulator, Source
from exec_env.one_asset.actions import ActionMode, get_action_mode
from exec_env.one_asset.presets import get_preset, with_overrides
from exec_env.one_asset.randomise import RandomisedSimulator, RandomisedTape, Ranges

_IMPACTS = (
    *("temporary_impact", "impact_exponent", "reference_participation", "permanent_impact", "transient_impact"),
    *("impact_noise", "decay_noise", "resilience"),
)


@dataclass(frozen=True)
class Problem:
    """What is to be executed, and on which paths."""

    market: Market
    order: Order
    source: Source
    action: ActionMode
    recording: Tape | None = None
    ranges: Ranges | None = None
    """What the market of each path is drawn from; None: all play ``market``."""
    file: MarketFile | None = None
    """The calibrated market that it is from, if it is from one."""


def make_problem(
    preset: str = "default",
    tape: Tape | str | Path | None = None,
    tape_columns: dict[str, str] | None = None,
    hours_per_day: float | None = None,
    action: str | ActionMode | None = None,
    levels: Any = None,
    randomise: str | Sequence[str] | None = None,
    market: str | Path | MarketFile | None = None,
    tape_split: float | None = None,
    tape_part: Part | None = None,
    tape_purge: int | None = None,
    fills: Fills | None = None,
    tape_stamp: Stamp | None = None,
    **overrides: Any,
) -> Problem:
    """Build a problem from a preset and any fields of Market and Order.

    With a ``market`` (a file of ``scripts/calibrate.py``, or one by hand), its parameters replace the preset's, its
    slices are the order's, and an order whose size is not given is the same part of its slices' volume as the preset's
    (with a tape, of slices as long as the tape's).

    With a ``tape`` (a Tape, or a CSV file; for a file, ``tape_columns``, ``hours_per_day`` and ``tape_stamp`` are
    columns, hours_per_day and stamp of ``Tape.from_csv``), averages and slice length are the tape's. With both,
    the tape gives the paths and the file how the price answers to us; its trading day is that of the file, if the file
    names one.

    ``tape_split`` is the part of the tape's rows that is for training. Episodes are of the ``tape_part``, "training"
    (the default) or "evaluation", the later rows but for a purge of ``tape_purge`` rows (as many as an episode has)
    between the two. All averages are of the training rows in both. With ``fills = "book"`` trades walk the recorded
    levels of the book, instead of paying the market's temporary impact.

    With ``randomise``, every path plays a market of its own, drawn from ranges around that one: "stress", "parameters",
    or NAME=LOW:HIGH for a field of Market; see ``exec_env.one_asset.randomise.Ranges``.

    Raises:
        InputError: one sentence naming the option, its value and what is allowed.
    """
    start = get_preset(preset)
    base, order, recording, file = start.market, start.order, None, None
    if market is not None:
        file = _file(market)
        base, order = _from_file(file, base, order)
    if tape is not None:
        if not isinstance(tape, Tape | str | Path):
            raise InputError(f"tape = {tape!r}: must be a Tape or the path of a CSV file")
        hours = file.hours_per_day if hours_per_day is None and file is not None else hours_per_day
        given: dict[str, Any] = {"hours_per_day": hours, "stamp": tape_stamp}
        reading = {name: value for name, value in given.items() if value is not None}
        recording = tape if isinstance(tape, Tape) else Tape.from_csv(tape, tape_columns, **reading)
        if file is not None and file.hours_per_day not in (None, recording.hours_per_day):
            raise InputError(
                f"hours_per_day = {recording.hours_per_day:g}: the market's rates are per day of "
                f"{file.hours_per_day:g} hours; give the tape the same, or leave it out"
            )
        recording = _divided(recording, tape_split, tape_part, tape_purge)
        if fills is not None:
            recording = replace(recording, fills=fills)
        found = recording.market(base)
        if file is not None:  # known, so that nothing is scaled
            known = {name: getattr(base, name) for name in _IMPACTS}
            if base.impact_exponent != 1:  # the reference is a rate, whatever the tape's volume
                known["reference_participation"] *= base.daily_volume / found.daily_volume
            found = replace(found, **known)
            order = replace(order, shares=order.shares * recording.slice_length / file.slice_length)
        base = found
        for name in overrides:
            if hasattr(base, name) and name not in GIVEN:
                raise InputError(
                    f"Market.{name} = {overrides[name]!r}: comes from the tape; "
                    f"only {', '.join(sorted(GIVEN))} can be given"
                )
        overrides = {"slice_length": recording.slice_length} | overrides
    elif tape_columns or hours_per_day is not None:
        what = f"tape_columns = {tape_columns!r}" if tape_columns else f"hours_per_day = {hours_per_day!r}"
        raise InputError(f"{what}: there is no tape")
    else:
        only: dict[str, Any] = {"tape_split": tape_split, "tape_part": tape_part, "tape_purge": tape_purge}
        only |= {"fills": fills, "tape_stamp": tape_stamp}
        for name, value in only.items():
            if value is not None:
                raise InputError(f"{name} = {value!r}: there is no tape")
    ours, order = with_overrides(base, order, overrides)
    ours.shock_probability(order.slice_length)
    ranges: Ranges | None = None
    if recording is None:
        source: Source = Simulator(ours, order)
        if randomise is not None:
            ranges = Ranges.parse(randomise, ours)
            source = RandomisedSimulator(ours, order, ranges)
    else:
        if recording.split is not None and tape_purge is None and tape_split is not None:
            recording = replace(recording, split=recording.split.purged(order.n_steps))
        _require_episodes(recording, order)
        source = TapeSource(recording, ours, order)
        if randomise is not None:
            ranges = Ranges.parse(randomise, ours, recorded=True)
            source = RandomisedTape(recording, ours, order, ranges)
    if ranges is not None:
        ranges.check(ours, order)
    if start.action is not None and levels is None and action in (None, start.action.name):
        action = start.action
    mode = get_action_mode(action or "pace", levels)
    mode.space(order)
    return Problem(ours, order, source, mode, recording, ranges, file)


def for_evaluation(options: dict[str, Any]) -> dict[str, Any]:
    """Options of ``make_problem``, of the evaluation part where the tape is split and no part is named."""
    split = options.get("tape_split") is not None and options.get("tape_part") is None
    return options | ({"tape_part": "evaluation"} if split else {})


def _divided(recording: Tape, share: float | None, part: Part | None, purge: int | None) -> Tape:
    """The recording cut as the options say; as it comes where they say nothing."""
    if share is not None:
        recording = replace(recording, split=Split.at(share, len(recording.mid)).purged(purge or 0))
    elif purge is not None or (part is not None and recording.split is None):
        given = f"tape_purge = {purge!r}" if purge is not None else f"tape_part = {part!r}"
        raise InputError(f"{given}: there is no tape_split")
    if part is None:
        return recording
    check_part(part)
    return replace(recording, part=part)


def _require_episodes(recording: Tape, order: Order) -> None:
    """Refuse an order too large for the tape, or without an episode in it or in each of its parts."""
    recording.check(order)
    split = recording.split
    for part in get_args(Part) if split else (recording.part,):
        try:
            replace(recording, part=part).starts(order)
        except ValueError as error:
            if split is None:
                raise
            cut = f"{split.training} of {split.length} rows are for training, and the purge takes {split.purge}"
            raise InputError(f"{error}; {cut}") from None


def _file(market: str | Path | MarketFile) -> MarketFile:
    if not isinstance(market, str | Path | MarketFile):
        raise InputError(f"market = {market!r}: must be a MarketFile or the path of a YAML file")
    return market if isinstance(market, MarketFile) else MarketFile.load(market)


def _from_file(file: MarketFile, base: Market, order: Order) -> tuple[Market, Order]:
    """The file's market, with the stress of ``base``, and an order of its slices and scale."""
    found = file.market(base)
    shares = order.shares * found.daily_volume * file.slice_length / (base.daily_volume * order.slice_length)
    return found, replace(order, shares=shares, slice_length=file.slice_length)
