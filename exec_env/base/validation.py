"""Dataclass fields that check themselves: the allowed range stands in the annotation, once."""

import dataclasses
import difflib
import functools
import math
import operator
import os
import reprlib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from exec_env.base.errors import InputError, NoBound

_TINY, _HUGE = 1e-100, 1e100  # of numbers whose squares and quotients are numbers


@dataclass(frozen=True)
class Bounds:
    """An interval; its text is what the error message shows."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def __contains__(self, value: Any) -> bool:
        """True when every element of ``value`` is finite and inside. NaN is never inside."""
        above = value > self.low if self.open_low else value >= self.low
        inside = above & (value <= self.high) & (abs(value) < math.inf)
        return bool(inside) if isinstance(inside, bool) else bool(inside.all())

    def __str__(self) -> str:
        if self.low == -math.inf and self.high == math.inf:
            return "a finite number"
        if self.high == math.inf:
            return f"a finite number {'>' if self.open_low else '>='} {self.low:g}"
        return f"in {'(' if self.open_low else '['}{self.low:g}, {self.high:g}]"


Finite = Annotated[float, Bounds()]
NonNegative = Annotated[float, Bounds(low=0.0)]
Positive = Annotated[float, Bounds(low=0.0, open_low=True)]
Fraction = Annotated[float, Bounds(low=0.0, high=1.0, open_low=True)]
Probability = Annotated[float, Bounds(low=0.0, high=1.0)]
Count = Annotated[int, Bounds(low=1)]


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def check_fields(instance: Any) -> None:
    """Check and normalise every annotated field of a frozen dataclass; call it in ``__post_init__``.

    Numbers become ``float`` or ``int``; torch tensors stay tensors, so that gradients reach them.

    Raises:
        InputError: naming the class, the field, the value and what is allowed.
    """
    cls: Any = type(instance)
    for name, hint in _hints(cls).items():
        value = getattr(instance, name)
        try:
            object.__setattr__(instance, name, _check(hint, value))
        except InputError as error:
            raise InputError(f"{type(instance).__name__}.{name} = {shown(value)}: must be {error}") from None


def _check(hint: Any, value: Any) -> Any:
    """``value`` as ``hint`` wants it, or InputError with the words for what is allowed."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union) and type(None) in arguments:
        if value is None:
            return None
        (inner,) = [a for a in arguments if a is not type(None)]
        try:
            return _check(inner, value)
        except InputError as error:
            raise InputError(f"{error}, or None") from None
    if origin in (types.UnionType, typing.Union):
        refused = []
        for inner in arguments:
            try:
                return _check(inner, value)
            except InputError as error:
                refused.append(str(error))
        raise InputError(" or ".join(refused))
    if origin is Literal:
        if not any(isinstance(value, type(a)) and value == a for a in arguments):
            raise InputError(" or ".join(repr(a) for a in arguments))
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
            raise InputError("a sequence")
        return tuple(_check(arguments[0], v) for v in value)
    if origin is Annotated:
        kind, bounds = arguments[0], arguments[1]
        value = _number(kind, value, bounds)
        if value not in bounds:
            raise InputError(_allowed(kind, bounds))
        if kind is float and not hasattr(value, "detach") and value and not _TINY <= abs(value) <= _HUGE:
            raise InputError(f"{_allowed(kind, bounds)}, and 0 or {_TINY:g} to {_HUGE:g} in size")
        return value
    if origin is dict and not (isinstance(value, dict) and all(isinstance(k, arguments[0]) for k in value)):
        raise InputError("a mapping of names to values")
    if hint in (bool, str) and not isinstance(value, hint):
        raise InputError(f"a {hint.__name__}")
    return value


def _allowed(kind: type, bounds: Bounds) -> str:
    if kind is not int:
        return str(bounds)
    if math.isfinite(bounds.low) and math.isfinite(bounds.high):
        return f"a whole number >= {bounds.low:.0f} and <= {bounds.high:.0f}"
    return str(bounds).replace("a finite number", "a whole number")


def _number(kind: type, value: Any, bounds: Bounds) -> Any:
    article = _allowed(kind, bounds)
    if isinstance(value, bool | str) or value is None:
        raise InputError(article)
    if hasattr(value, "detach") and (value.numel() != 1 or value.is_complex()):
        raise InputError(article)
    if hasattr(value, "detach") and kind is float:
        return value
    try:
        return operator.index(value) if kind is int else float(value)
    except (TypeError, ValueError, OverflowError):  # what numbers of any library say of themselves
        raise InputError(article) from None


def is_finite(value: Any) -> bool:
    """Whether ``value`` is one finite real number, and neither a bool nor text."""
    try:
        return not isinstance(value, bool | str) and math.isfinite(value)
    except (TypeError, OverflowError, ValueError, RuntimeError):  # torch's for more than one number
        return False


def require(low: float = -math.inf, open_low: bool = False, **values: Any) -> None:
    """Refuse arguments that are not finite numbers above ``low``.

    Raises:
        InputError: naming the argument, the value and what is allowed.
    """
    bounds = Bounds(low, open_low=open_low)
    for name, value in values.items():
        if not is_finite(value) or float(value) not in bounds:
            raise InputError(f"{name} = {shown(value)}: must be {bounds}")


def require_count(low: int = 1, high: float = math.inf, **values: Any) -> None:
    """Refuse arguments that are not whole numbers from ``low`` to ``high``.

    Raises:
        InputError: naming the argument, the value and what is allowed.
    """
    for name, value in values.items():
        try:
            allowed = not isinstance(value, bool) and low <= operator.index(value) <= high
        except TypeError:  # no whole number
            allowed = False
        if not allowed:
            most = "" if high == math.inf else f" and <= {high}"
            raise InputError(f"{name} = {shown(value)}: must be a whole number >= {low}{most}")


def require_flag(**values: Any) -> None:
    """Refuse arguments that are neither True nor False.

    Raises:
        InputError: naming the argument and the value.
    """
    for name, value in values.items():
        if type(value).__name__ not in ("bool", "bool_") and not (type(value) is int and value in (0, 1)):
            raise InputError(f"{name} = {shown(value)}: must be True or False")


def listed(what: str, of: str, values: Any) -> list[Any]:
    """A list of what is given, one after the other; a text is one.

    Raises:
        InputError: for what is no list; ``what`` names it, and ``of`` says what it has to be of.
    """
    if isinstance(values, str | os.PathLike):
        return [values]
    try:
        if isinstance(values, Iterable) and not isinstance(values, bytes) and getattr(values, "ndim", 1) != 0:
            return list(values)
    except TypeError:  # a class that only looks as if it could be gone through
        pass
    raise InputError(f"{what} = {shown(values)}: must be {of}")


def require_type(cls: type[Any], **values: Any) -> None:
    """Refuse arguments of another type, in the words that Python itself uses.

    A market where an order should be is a mistake in a program, and so a TypeError, which keeps its traceback.
    """
    for name, value in values.items():
        if not isinstance(value, cls):
            raise TypeError(f"{name} must be of type {cls.__name__}, not {type(value).__name__}")


class _Short(reprlib.Repr):
    """Shorter than what a terminal shows at once, whatever is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.maxtuple = self.maxlist = self.maxdict = self.maxset = 16
        self.maxstring, self.maxother, self.maxlong, self.maxlevel = 200, 200, 60, 3

    def repr_int(self, x: int, level: int) -> str:
        """A whole number; those of thousands of digits have no decimal form."""
        return super().repr_int(x, level) if abs(x) < 10**100 else f"{'-' if x < 0 else ''}1e{_digits(x)} or so"


def _digits(x: int) -> int:
    return round((abs(x).bit_length() - 1) * math.log10(2))


_SHORT = _Short()


def shown(value: Any) -> str:
    """``repr`` for a message: short, whatever the value is.

    >>> shown(0.5), shown("twap"), shown(10**400), len(shown([[1] * 1000] * 1000)) < 1000
    ('0.5', "'twap'", '1e400 or so', True)
    """
    return _SHORT.repr(value)


def unexpected(function: str, name: Any, allowed: Iterable[str]) -> str:
    """What Python says of a keyword that a function does not take, with the nearest one that it takes.

    >>> unexpected("make_problem", "sharse", ["shares", "side"])
    "make_problem() got an unexpected keyword argument 'sharse'; did you mean 'shares'?"
    """
    near = difflib.get_close_matches(str(name), sorted(allowed), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{function}() got an unexpected keyword argument {name!r}{hint}"


def unknown(kind: str, name: Any, allowed: Iterable[str]) -> str:
    """One sentence for a name that does not exist, with the nearest one that does.

    >>> unknown("preset", "clasic", ["default", "classic"])
    "unknown preset 'clasic'; did you mean 'classic'? Known: classic, default"
    """
    known = sorted(allowed)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(known)}"


def from_mapping(cls: type[Any], values: Any, where: str) -> Any:
    """Build dataclass ``cls`` from a mapping read from a file.

    Raises:
        InputError: for anything but a mapping of known fields to allowed values; ``where`` names the source.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected fields of {cls.__name__}, found {type(values).__name__}")
    takes = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for name in values:
        if name not in takes:
            raise InputError(f"{where}: {unknown(f'field of {cls.__name__}', name, takes)}")
    for name, field in takes.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(f"{where}: has no field {name!r}, which {cls.__name__} needs")
    try:
        return cls(**values)
    except (InputError, NoBound) as error:
        raise InputError(f"{where}: {error}") from None
