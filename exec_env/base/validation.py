"""Dataclass fields that check themselves: the allowed range stands in the annotation, once."""

import dataclasses
import difflib
import functools
import math
import operator
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from exec_env.base.errors import InputError


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
        except (ValueError, TypeError) as error:
            raise InputError(f"{type(instance).__name__}.{name} = {value!r}: must be {error}") from None


def _check(hint: Any, value: Any) -> Any:
    """``value`` as ``hint`` wants it, or ValueError with the words for what is allowed."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union) and type(None) in arguments:
        if value is None:
            return None
        (inner,) = [a for a in arguments if a is not type(None)]
        try:
            return _check(inner, value)
        except ValueError as error:
            raise InputError(f"{error}, or None") from None
    if origin is Literal:
        if value not in arguments:
            raise InputError(" or ".join(repr(a) for a in arguments))
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise InputError("a sequence")
        return tuple(_check(arguments[0], v) for v in value)
    if origin is Annotated:
        kind, bounds = arguments[0], arguments[1]
        value = _number(kind, value, bounds)
        if value not in bounds:
            raise InputError(_allowed(kind, bounds))
        return value
    if hint in (bool, str) and not isinstance(value, hint):
        raise InputError(f"a {hint.__name__}")
    return value


def _allowed(kind: type, bounds: Bounds) -> str:
    return str(bounds).replace("a finite number", "a whole number") if kind is int else str(bounds)


def _number(kind: type, value: Any, bounds: Bounds) -> Any:
    article = _allowed(kind, bounds)
    if isinstance(value, bool | str) or value is None:
        raise InputError(article)
    if hasattr(value, "detach"):
        return value
    try:
        return operator.index(value) if kind is int else float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(article) from None


def is_finite(value: Any) -> bool:
    """Whether ``value`` is one finite real number, and neither a bool nor text."""
    try:
        return not isinstance(value, bool | str) and math.isfinite(value)
    except (TypeError, OverflowError, ValueError):
        return False


def require(low: float = -math.inf, open_low: bool = False, **values: Any) -> None:
    """Refuse arguments that are not finite numbers above ``low``.

    Raises:
        InputError: naming the argument, the value and what is allowed.
    """
    bounds = Bounds(low, open_low=open_low)
    for name, value in values.items():
        if not is_finite(value) or float(value) not in bounds:
            raise InputError(f"{name} = {value!r}: must be {bounds}")


def require_count(low: int = 1, **values: Any) -> None:
    """Refuse arguments that are not whole numbers from ``low`` on.

    Raises:
        InputError: naming the argument, the value and what is allowed.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < low:
            raise InputError(f"{name} = {value!r}: must be a whole number >= {low}")


def unknown(kind: str, name: Any, allowed: Iterable[str]) -> str:
    """One sentence for a name that does not exist, with the nearest one that does.

    >>> unknown("preset", "clasic", ["default", "classic"])
    "unknown preset 'clasic'; did you mean 'classic'? Known: classic, default"
    """
    known = sorted(allowed)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(known)}"


def unexpected(function: str, name: Any, allowed: Iterable[str]) -> str:
    """Python's own words for a keyword that ``function`` does not take, with the nearest one that it does.

    >>> unexpected("make", "volatilty", ["volatility", "shares"])
    "make() got an unexpected keyword argument 'volatilty'; did you mean 'volatility'?"
    """
    near = difflib.get_close_matches(str(name), sorted(allowed), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{function}() got an unexpected keyword argument {name!r}{hint}"


def from_mapping(cls: type[Any], values: Any, where: str) -> Any:
    """Build dataclass ``cls`` from a mapping read from a file.

    Raises:
        InputError: for anything but a mapping of known fields to allowed values; ``where`` names the source.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected fields of {cls.__name__}, found {type(values).__name__}")
    names = [f.name for f in dataclasses.fields(cls)]
    for name in values:
        if name not in names:
            raise InputError(f"{where}: {unknown(f'field of {cls.__name__}', name, names)}")
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from None
