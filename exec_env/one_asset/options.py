"""Options of the one-asset problem: from a preset, fields, files and objects to a ``OneAsset``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from exec_env.base.errors import InputError
from exec_env.base.importing import imported
from exec_env.base.units import HOURS_PER_DAY
from exec_env.base.validation import Bounds, from_mapping, is_finite, shown
from exec_env.data.episodes import TapeSource
from exec_env.data.features import features_of
from exec_env.data.market_file import MarketFile
from exec_env.data.reading import Reading
from exec_env.data.sessions import session_lengths
from exec_env.data.slices import Stamp
from exec_env.data.split import Part, Split, check_part
from exec_env.data.tape import Fills, Tape
from exec_env.envs.features import check_features
from exec_env.envs.reward import Reward
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import GIVEN, Simulator, Source
from exec_env.one_asset.actions import ActionMode, get_action_mode
from exec_env.one_asset.core import PACE
from exec_env.one_asset.information import Information, check, names
from exec_env.one_asset.observation import Observation
from exec_env.one_asset.presets import Preset, get_preset, with_overrides
from exec_env.one_asset.problem import OneAsset
from exec_env.one_asset.quantities import between, numbers
from exec_env.one_asset.randomise import RandomisedSimulator, RandomisedTape, Ranges
from exec_env.one_asset.remarks import impact_followed, within_a_session

_IMPACTS = (
    *("temporary_impact", "impact_exponent", "reference_participation", "permanent_impact", "transient_impact"),
    *("impact_noise", "decay_noise", "resilience"),
)


@dataclass(frozen=True)
class TapeOptions:
    """How a tape is read and played; every field is an option of ``make_problem``."""

    tape_columns: dict[str, str] | None = None
    """Of a file: where it has other names, see ``Tape.from_frame``."""
    hours_per_day: float | None = None
    """Length of the trading day, of a file's or of who writes 5min; 24 where trading never stops. [hour]"""
    tape_stamp: Stamp | None = None
    """Of a file: whether a row's volume is that from its time on, or up to it."""
    tape_split: float | None = None
    """Part of the rows that is for training."""
    tape_part: Part | None = None
    """The rows that episodes are of: "training" (the default) or "evaluation", the later ones but for the purge."""
    tape_reading: Reading | dict[str, Any] | None = None
    """Of files: format, zone, session and so on, as of ``exec_env.data.reading.Reading``."""
    tape_minutes: float | None = None
    """Of files of ticks or bars, or of books that are not to be rows of their own: length of a slice. [minute]"""
    tape_purge: int | None = None
    """Rows between the two that nobody plays; by default as many as an episode has."""
    tape_features: dict[str, Any] | None = None
    """Of files: what else agents see of a slice, by name a column or arithmetic of columns; see ``Tape.from_frame``."""
    fills: Fills | None = None
    """"book": trades walk the recorded levels of the book, instead of paying the market's temporary impact."""

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> "TapeOptions":
        """Those of ``options``, which loses them."""
        return cls(**{f.name: options.pop(f.name) for f in fields(cls) if f.name in options})

    def refuse(self) -> None:
        """Refuse all of them: there is no tape."""
        for f in fields(self):
            if f.name != "hours_per_day" and (value := getattr(self, f.name)) not in (None, {}):
                raise InputError(f"{f.name} = {value!r}: there is no tape")

    def trading_day(self, tape: Tape | None, file: MarketFile | None) -> float:
        """Its length: the tape's, the market file's, or the one that is given. [hour]"""
        given, theirs = self.hours_per_day, file.hours_per_day if file else None
        if tape is not None:
            return tape.hours_per_day
        if given is not None and not (is_finite(given) and given in Bounds(0.0, 24.0, open_low=True)):
            raise InputError(f"hours_per_day = {shown(given)}: must be in (0, 24]")
        if None not in (given, theirs) and given != theirs:
            raise InputError(f"hours_per_day = {given:g}: the market's rates are per day of {theirs:g} hours")
        return next(float(hours) for hours in (given, theirs, HOURS_PER_DAY) if hours is not None)

    def read(self, tape: Tape | str | Path | Sequence[str | Path], file: MarketFile | None) -> Tape:
        """The tape, read where it is files, and cut as the options say."""
        several = isinstance(tape, list | tuple) and len(tape) > 0 and all(isinstance(t, str | Path) for t in tape)
        if not isinstance(tape, Tape | str | Path) and not several:
            raise InputError(f"tape = {shown(tape)}: must be a Tape or the path of a file, or paths")
        if isinstance(tape, Tape) and self.tape_features:
            raise InputError(
                f"tape_features = {shown(self.tape_features)}: the tape is read already; name them where it is read, "
                "Tape.read(..., features=...)"
            )
        if not isinstance(tape, Tape):
            hours = file.hours_per_day if self.hours_per_day is None and file else self.hours_per_day
            reading = Reading.of(self.tape_reading, "tape_reading")
            paths = (tape,) if isinstance(tape, str | Path) else tuple(tape)
            features = tuple(features_of(self.tape_features).items())
            how = (hours, self.tape_stamp or "start", reading, self.tape_minutes)
            tape = _read(paths, self.tape_columns, *how, features)
        if file is not None and file.hours_per_day not in (None, tape.hours_per_day):
            raise InputError(
                f"hours_per_day = {tape.hours_per_day:g}: the market's rates are per day of "
                f"{file.hours_per_day:g} hours; give the tape the same, or leave it out"
            )
        tape = self._divided(tape)
        return tape if self.fills is None else replace(tape, fills=self.fills)

    def _divided(self, tape: Tape) -> Tape:
        """The tape cut in time as the options say; as it comes where they say nothing."""
        share, part, purge = self.tape_split, self.tape_part, self.tape_purge
        if share is not None:
            tape = replace(tape, split=Split.at(share, len(tape.mid)).purged(purge or 0))
        elif purge is not None or (part is not None and tape.split is None):
            given = f"tape_purge = {purge!r}" if purge is not None else f"tape_part = {part!r}"
            raise InputError(f"{given}: there is no tape_split")
        if part is None:
            return tape
        check_part(part)
        return replace(tape, part=part)

    def purged(self, tape: Tape, order: Order) -> Tape:
        """The tape with a purge as long as an episode, where a split says nothing of it."""
        if tape.split is not None and self.tape_purge is None and self.tape_split is not None:
            return replace(tape, split=tape.split.purged(order.n_steps))
        return tape


def _read(paths: tuple[str | Path, ...], columns: dict[str, str] | None, *how: Any) -> Tape:
    """The tape of files, which a command that makes many problems of it reads once, while they stay as they are."""
    if not all(Path(path).is_file() for path in paths) or not isinstance(columns, dict | None):
        return _tape(paths, columns, how)  # which says what is wrong, or what a pattern stands for
    states = [Path(path).stat() for path in paths]
    version = tuple((Path(path).resolve(), s.st_mtime_ns, s.st_size) for path, s in zip(paths, states, strict=True))
    key = (version, tuple(map(str, paths)), None if columns is None else tuple(columns.items()), how)
    try:
        hash(key)
    except TypeError:
        return _tape(paths, columns, how)  # likewise
    return _kept(*key)


@lru_cache(maxsize=2)
def _kept(version: Any, paths: tuple[str, ...], columns: Any, how: Any) -> Tape:
    return _tape(paths, None if columns is None else dict(columns), how)


def _tape(paths: tuple[str | Path, ...], columns: dict[str, str] | None, how: Any) -> Tape:
    hours, stamp, reading, minutes, features = how
    return Tape.read(paths, columns, hours, stamp, reading, minutes, dict(features))


ENVIRONMENT_OPTIONS = frozenset(
    {"preset", "action", "levels", "reward", "violation_penalty", "smoothness_penalty", "features", "information"}
    | {"start", "end"}
    | {"tape", "randomise", "market", "order", *(f.name for f in fields(TapeOptions))}
)
"""What ``make_problem`` takes beside the fields of Market and Order."""
OPTIONS = frozenset(ENVIRONMENT_OPTIONS | {f.name for part in (Market, Order) for f in fields(part)})
"""All that ``make_problem`` takes."""


def make_problem(
    preset: str = "default",
    *,
    market: Market | str | Path | MarketFile | None = None,
    order: Order | None = None,
    tape: Tape | str | Path | Sequence[str | Path] | None = None,
    action: str | ActionMode | None = None,
    levels: Any = None,
    randomise: str | Sequence[str] | None = None,
    reward: str | Callable[[Any], Any] = "expected",
    violation_penalty: float = 0.0,
    smoothness_penalty: float = 0.0,
    features: Mapping[str, Any] | None = None,
    information: Information = "full",
    start: str | None = None,
    end: str | None = None,
    **options: Any,
) -> OneAsset:
    """Build a problem from a preset and any fields of Market and Order.

    Fields may be texts with a unit (``exec_env.base.units``): ``shares="250k"`` or ``"4%adv"``, ``volatility="1.8%"``,
    ``slice_length="5min"``. With ``start="09:30"`` slices are shown by the clock; ``end="15:30"`` beside it and one of
    ``n_steps`` and ``slice_length`` say how many slices there are, and how long they are.

    Impact follows σ S0 / V: where ``arrival_price``, ``volatility`` or ``daily_volume`` is given and an impact is not,
    the preset's (or the market's) is scaled, so that the same participation costs the same part of a day's volatility
    (``Market.rescaled``), and ``remarks`` says so. Impact that is given is held.

    With a ``market``, a file of ``exec-env calibrate`` (or one by hand), its parameters replace the preset's, its
    slices are the order's, and an order whose size is not given is the same part of its slices' volume as the preset's
    (with a tape, of slices as long as the tape's). A ``Market`` or an ``Order`` replaces the preset's as it is; fields
    beside it are over it.

    With a ``tape`` (a Tape, or files), averages and slice length are the tape's; ``TapeOptions`` says how it is
    read and played. With both, the tape gives the paths and the market how the price answers to us; the tape's trading
    day is that of the market file, if the file names one; impact is held. All averages are of the training rows.

    With ``randomise``, every path plays a market of its own, drawn from ranges around that one: "stress", "parameters",
    or NAME=LOW:HIGH for a field of Market; see ``exec_env.one_asset.randomise.Ranges``.

    ``reward`` is a kind, a function of the fill, or its import path; see ``Reward``. ``features`` adds entries to the
    observation: by name a function of the entries before, or the import path of one; ``tape_features`` adds columns of
    the tape's file, less their mean and over their standard deviation in the training rows, clipped to [-10, 10].

    Raises:
        InputError: one sentence naming the option, its value and what is allowed.
        UnknownOption: for an option that is none.
    """
    named = get_preset(preset)
    reading = TapeOptions.taken_from(options)
    base, whole, file = _given(named, market, order)
    recorded: Tape | None = None
    if tape is None:
        reading.refuse()
    else:
        recorded = reading.read(tape, file)
        base, whole = _on_tape(recorded, base, whole, file, held=market is not None)
        for name in options:
            if hasattr(base, name) and name not in GIVEN:
                raise InputError(
                    f"Market.{name} = {options[name]!r}: comes from the tape; "
                    f"only {', '.join(sorted(GIVEN))} can be given"
                )
        options = {"slice_length": recorded.slice_length} | options
    if isinstance(days := options.get("sessions"), str):
        steps, length = (options.get(name, getattr(whole, name)) for name in ("n_steps", "slice_length"))
        options["sessions"] = session_lengths(days, steps * length)
    held = tape is not None and market is not None
    hours = reading.trading_day(recorded, file)
    options = numbers(options, base, whole, hours)
    clock = between(start, end, options, whole, hours)
    ours, whole = with_overrides(base, whole, options, OPTIONS, held)
    ours.shock_probability(whole.slice_length)
    ours.profile(whole)
    ours.spans(whole)
    if recorded is not None:
        recorded = reading.purged(recorded, whole)
        _require_episodes(recorded, whole)
        for name in set(recorded.units) & set(Observation._fields):
            raise InputError(f"tape_features: {name!r} must be a name that no entry has; there is one of the problem's")
    ranges = None if randomise is None else Ranges.parse(randomise, ours, recorded=recorded is not None)
    if ranges is not None:
        ranges.check(ours, whole)
    if named.action is not None and levels is None and action in (None, named.action.name):
        action = named.action
    mode = get_action_mode(action or PACE, levels)
    mode.space(whole)
    return OneAsset(
        ours,
        whole,
        mode,
        _source(ours, whole, recorded, ranges),
        recorded,
        ranges,
        file,
        Reward(_function(reward, "reward"), violation_penalty, smoothness_penalty),
        check_features(_functions(features), (*names(information), *(recorded.features if recorded else ()))),
        check(information, ours),
        {"market": named.market, "order": named.order},
        clock,
        on_impact=(*(() if held else impact_followed(base, ours, options)), *within_a_session(ours, whole, options)),
    )


def _given(start: Preset, market: Any, order: Any) -> tuple[Market, Order, MarketFile | None]:
    """Market and order to start from, and the file that the market is from, if it is from one."""
    if isinstance(order, Mapping):  # as a run folder keeps it
        order = from_mapping(Order, order, "order")
    if order is not None and not isinstance(order, Order):
        raise InputError(f"order = {order!r}: must be an Order")
    if isinstance(market, Mapping):
        market = from_mapping(Market, market, "market")
    if market is None:
        return start.market, order or start.order, None
    if isinstance(market, Market):
        return market, order or start.order, None
    if not isinstance(market, str | Path | MarketFile):
        raise InputError(f"market = {market!r}: must be a Market, a MarketFile or the path of a YAML file")
    file = market if isinstance(market, MarketFile) else MarketFile.load(market)
    base, found = start.market, file.market(start.market)
    if order is not None:
        return found, order, file
    shares = (
        start.order.shares * found.daily_volume * file.slice_length / (base.daily_volume * start.order.slice_length)
    )
    return found, replace(start.order, shares=shares, slice_length=file.slice_length), file


def _on_tape(tape: Tape, base: Market, order: Order, file: MarketFile | None, held: bool) -> tuple[Market, Order]:
    """The market whose averages are the tape's, and the order; where impact is ``held``, none of it is scaled."""
    found = tape.market(base)
    if not held:
        return found, order
    known = {name: getattr(base, name) for name in _IMPACTS}
    if base.impact_exponent != 1:  # the reference is a rate, whatever the tape's volume
        known["reference_participation"] *= base.daily_volume / found.daily_volume
    if file is not None:
        order = replace(order, shares=order.shares * tape.slice_length / file.slice_length)
    return replace(found, **known), order


def _source(market: Market, order: Order, tape: Tape | None, ranges: Ranges | None) -> Source:
    """Where paths come from."""
    if tape is None:
        return Simulator(market, order) if ranges is None else RandomisedSimulator(market, order, ranges)
    return TapeSource(tape, market, order) if ranges is None else RandomisedTape(tape, market, order, ranges)


def _require_episodes(tape: Tape, order: Order) -> None:
    """Refuse an order too large for the tape, or without an episode in it or in each of its parts."""
    tape.check(order)
    split = tape.split
    for part in get_args(Part) if split else (tape.part,):
        try:
            replace(tape, part=part).starts(order)
        except InputError as error:
            if split is None:
                raise
            cut = f"{split.training} of {split.length} rows are for training, and the purge takes {split.purge}"
            raise InputError(f"{error}; {cut}") from None


def _function(value: Any, what: str) -> Any:
    """A function from its import path; anything else as it is."""
    return imported(value, what) if isinstance(value, str) and ":" in value else value


def _functions(features: Mapping[str, Any] | None) -> Any:
    if not isinstance(features, Mapping):
        return features
    return {name: _function(value, f"features: {name}") for name, value in features.items()}
