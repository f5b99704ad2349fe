"""A market in a YAML file: every parameter with its standard error, interval, unit and where it is from."""

from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from os.path import isfile
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from exec_env.base.errors import InputError
from exec_env.base.validation import Positive, check_fields, from_mapping, is_finite, unknown
from exec_env.market.market import Market

From = Literal["data", "prior", "given"]

UNITS = {
    "arrival_price": "$",
    "volatility": "1/√day",
    "volatility_elasticity": "-",
    "liquidity_reversion": "1/day",
    "liquidity_volatility": "-",
    "daily_volume": "shares/day",
    "volume_profile": "-",
    "volume_noise": "-",
    "half_spread": "bps of the arrival price",
    "spread_elasticity": "-",
    "spread_noise": "-",
    "temporary_impact": "$/share per share/day",
    "impact_exponent": "-",
    "reference_participation": "-",
    "impact_noise": "-",
    "permanent_impact": "$/share per share",
    "transient_impact": "$/share per share",
    "resilience": "1/day",
    "decay_noise": "-",
    "overnight_variance": "-",
    "night_length": "day",
}
"""The fields of Market that a file gives, and their units."""
_DEFAULT = ("impact_exponent", "reference_participation")
"""What a file may leave out: linear impact."""
NIGHTS = ("overnight_variance", "night_length")
"""What a file without nights leaves out."""
_POSITIVE = frozenset(UNITS) - {"volume_profile", "volatility_elasticity", "spread_elasticity"}


@dataclass(frozen=True)
class Parameter:
    """One field of Market.

    Raises:
        InputError: naming the field, the value and what is allowed.
    """

    value: Any
    source: From = "given"
    """data: estimated; prior: the data cannot tell; given: by hand."""
    standard_error: float | None = None
    interval: list[float] | None = None
    """Interval that holds the truth with a probability of 95 %."""
    seen: float | None = None
    """Estimate that is too weak to be used; the prior is used instead. Its error is ``standard_error``."""
    how: str = ""
    """Method of the estimate, or the reason why the prior is used."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("standard_error", "seen"):
            number = getattr(self, name)
            if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
                raise InputError(f"{name} = {number!r}: must be a number, or left out")
        if self.standard_error is not None and not self.standard_error >= 0:
            raise InputError(f"standard_error = {self.standard_error!r}: must be >= 0, or left out")
        if self.interval is not None and (
            not isinstance(self.interval, list)
            or len(self.interval) != 2
            or not all(isinstance(x, int | float) for x in self.interval)
            or self.interval[0] > self.interval[1]
        ):
            raise InputError(f"interval = {self.interval!r}: must be [low, high], or left out")


@dataclass(frozen=True)
class MarketFile:
    """A market, and where each of its parameters comes from."""

    parameters: dict[str, Parameter]
    """Field of Market -> its value and error; a file may leave out what makes impact a power law."""
    slice_length: Positive = 1 / 78
    """Length of the slices that the parameters hold for, because noises are from slice to slice. [day]"""
    sample: dict[str, Any] = field(default_factory=dict)
    """Number of slices and days, first and last time, and how many rows were dropped."""
    sources: list[Any] = field(default_factory=list)
    """Data files, and how many of their rows were used."""
    reported: dict[str, Any] = field(default_factory=dict)
    """What was measured beside: the exponent δ that the data show, used or not, volume profile, and price response."""
    remarks: list[Any] = field(default_factory=list)
    """What a user should know about the data."""

    def __post_init__(self) -> None:
        check_fields(self)
        hours = self.sample.get("hours_per_day")
        if hours is not None and (not is_finite(hours) or not 0 < hours <= 24):
            raise InputError(f"sample: hours_per_day = {hours!r}: must be in (0, 24], or left out")

    @property
    def hours_per_day(self) -> float | None:
        """Length of the trading day that rates are per; None where the file does not say. [hour]"""
        return self.sample.get("hours_per_day")

    @property
    def period(self) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """Start of the first slice and of the last that it is calibrated on; None where the file does not say. [UTC]"""
        first, last = (
            pd.to_datetime(str(self.sample.get(name)), errors="coerce", utc=True) for name in ("first", "last")
        )
        return None if pd.isna(first) or pd.isna(last) else (first, last)

    @property
    def sha256(self) -> str:
        """Checksum of all that a market is made from: values and lengths, without errors and words."""
        values = {name: p.value for name, p in sorted(self.parameters.items())}
        return sha256(repr((values, self.slice_length, self.hours_per_day)).encode()).hexdigest()

    def market(self, base: Market | None = None) -> Market:
        """``base`` with the file's parameters; its stress, shocks and regimes stay."""
        return replace(base or Market(), **{name: p.value for name, p in self.parameters.items()})

    def save(self, path: Path) -> None:
        """Write the file, units as comments."""
        from exec_env.base.files import write_text

        lines = [
            "# A market for exec_env: gym.make('AlmgrenChriss-v0', market='this file'), or --market of the scripts.",
            "# source: data = estimated; prior = the data cannot tell, so it is the default market's, impact scaled by",
            "# sigma S0 / V (Almgren, Thum, Hauptmann & Li 2005); given = by hand. interval: 95 %; days of trading.",
            "parameters:",
        ]
        for name, parameter in self.parameters.items():
            entry = {k: v for k, v in asdict(parameter).items() if v not in (None, "")}
            lines += [f"  {name}:  # [{UNITS[name]}]", *(f"    {line}" for line in _yaml(entry))]
        lines += [f"slice_length: {self.slice_length!r}  # [day] what the noises hold for"]
        for name in ("sample", "sources", "reported", "remarks"):
            lines += _yaml({name: getattr(self, name)})
        write_text(path, "\n".join(lines) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "MarketFile":
        """Read and check a file.

        Raises:
            InputError: one sentence naming file and field.
        """
        from exec_env.base.files import read_yaml

        path = Path(path)
        if not isfile(path):
            raise InputError(f"market = {str(path)!r}: no such file")
        values = read_yaml(path)
        entries = values.get("parameters")
        if not isinstance(entries, dict):
            raise InputError(f"{path}: parameters: expected fields of Market, found {type(entries).__name__}")
        parameters = {}
        for name, entry in entries.items():
            if name not in UNITS:
                raise InputError(f"{path}: {unknown('field of Market', name, UNITS)}")
            # Who writes a file by hand may give a plain number.
            entry = entry if isinstance(entry, dict) else {"value": entry}
            parameters[name] = from_mapping(Parameter, entry, f"{path}: {name}")
        for name in _DEFAULT:
            parameters.setdefault(name, Parameter(getattr(Market, name), how="not in the file"))
        for name in UNITS:
            if name not in parameters and name not in NIGHTS:
                raise InputError(f"{path}: parameters: {name} is missing")
        found = from_mapping(cls, values | {"parameters": parameters}, str(path))
        try:
            found.market()
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        return found


def _yaml(values: dict[str, Any]) -> list[str]:
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return text.rstrip("\n").splitlines()


def positive(name: str) -> bool:
    """Whether a field cannot be negative, so that its interval is one of its logarithm."""
    return name in _POSITIVE
