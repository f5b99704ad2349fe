"""Features of a tape: columns that agents see beside the entries of the problem, in units of the training rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.namespace import namespace
from exec_env.base.validation import from_mapping, is_finite, shown

FEATURE = "feature "
"""What features are called among the columns of a tape begins so: their names are the user's, and may be ours too."""
FARTHEST = 10.0
"""No feature is seen further than this many standard deviations from its mean."""


class Units(NamedTuple):
    """What a feature is measured in."""

    mean: float
    std: float


@dataclass(frozen=True)
class Feature:
    """Where a feature is from.

    Raises:
        InputError: naming the field, its value and what is allowed.
    """

    column: str
    """The column, or arithmetic of columns."""
    mean: float | None = None
    """What is seen as zero; by default the mean of the training rows."""
    std: float | None = None
    """What is seen as one; by default the standard deviation of the training rows."""

    def __post_init__(self) -> None:
        if not isinstance(self.column, str) or not self.column:
            raise InputError(f"column = {shown(self.column)}: must be a column, or arithmetic of columns")
        if (self.mean is None) != (self.std is None):
            raise InputError(f"mean, std = {self.mean!r}, {self.std!r}: must be given both, or neither")
        if self.std is not None and not (is_finite(self.mean) and is_finite(self.std) and self.std > 0):
            raise InputError(f"mean, std = {self.mean!r}, {self.std!r}: must be finite numbers, the second > 0")

    @property
    def units(self) -> Units | None:
        """The units that are given."""
        return None if self.mean is None or self.std is None else Units(float(self.mean), float(self.std))


def features_of(given: Any) -> dict[str, Feature]:
    """Features by name, from columns or arithmetic of columns, or from mappings to the fields of ``Feature``.

    Raises:
        InputError: for what is neither, and for names that are none.

    >>> features_of({"toxicity": "vpin"})
    {'toxicity': Feature(column='vpin', mean=None, std=None)}
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InputError(f"tape_features = {shown(given)}: must be a mapping from names to columns of the file")
    found = {}
    for name, of in given.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise InputError(f"tape_features: {name!r}: must be a name of letters, digits and underscores")
        if not isinstance(of, Feature):
            of = from_mapping(
                Feature, dict(of) if isinstance(of, Mapping) else {"column": of}, f"tape_features: {name}"
            )
        found[name] = of
    return found


def labelled(name: str) -> str:
    """What a feature is called among the columns of a tape.

    >>> labelled("toxicity")
    'feature toxicity'
    """
    return FEATURE + name


def refuse_made(features: Mapping[str, Feature], where: str, kinds: Iterable[str]) -> None:
    """Refuse features of files that slices are made of.

    Raises:
        InputError: naming the features and the kinds.
    """
    if features:
        raise InputError(
            f"{where}: tape_features = {', '.join(features)}: rows of {' and '.join(kinds)} are no slices, they are "
            "made of them; name features of a file of slices, or of books without minutes"
        )


def described(units: Mapping[str, Units], columns: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Features in plain values, as ``features_of`` takes them: with the units that they are seen in."""
    return {name: {"column": columns.get(labelled(name), name), **of._asdict()} for name, of in units.items()}


def checked(features: Mapping[str, Any], n_rows: int, where: str) -> dict[str, np.ndarray]:
    """Columns of finite numbers, a row a slice.

    Raises:
        InputError: naming column and row.
    """
    found = {}
    for name, values in features.items():
        try:
            column = np.asarray(values, np.float64)
        except (TypeError, ValueError):  # NumPy's
            raise InputError(f"{where}: column {labelled(name)!r} must hold numbers") from None
        if column.shape != (n_rows,):
            raise InputError(f"{where}: column {labelled(name)!r} must have {n_rows} rows, as many as 'time'")
        bad = np.flatnonzero(~np.isfinite(column))
        if bad.size:
            row = bad[0]
            raise InputError(f"{where}: row {row + 1}, {labelled(name)!r}: {column[row]} is not a finite number")
        found[name] = column
    return found


def units_of(
    features: Mapping[str, np.ndarray], known: slice, given: Mapping[str, Units], where: str
) -> dict[str, Units]:
    """Units of each feature: those that are given, or else of the rows that are known.

    Raises:
        InputError: for a column that is the same in all of these rows.
    """
    found = {}
    for name, values in features.items():
        if name in given:
            found[name] = Units(*given[name])
            continue
        column = values[known]
        with np.errstate(all="ignore"):  # what is no number is refused
            units = Units(float(column.mean()), float(column.std()))
        if np.ptp(column) == 0 or not units.std > 0:
            raise InputError(
                f"{where}: column {labelled(name)!r} is {column[0]:g} in all rows for training: it says nothing"
            )
        if not np.isfinite(units).all():
            raise InputError(f"{where}: column {labelled(name)!r} has numbers too large for a mean")
        found[name] = units
    return found


def normalised(value: Any, units: Units) -> Any:
    """A feature as agents see it, clipped to [-10, 10]; a float or an array.

    >>> normalised(0.5, Units(mean=0.1, std=0.2)), normalised(-9.0, Units(mean=0.1, std=0.2))
    (2.0, -10.0)
    """
    return namespace(value).clip((value - units.mean) / units.std, -FARTHEST, FARTHEST)
