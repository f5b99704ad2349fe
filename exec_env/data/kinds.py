"""Kinds of market data, and the columns of each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from exec_env.base.errors import InputError
from exec_env.data import columns
from exec_env.data.columns import LEVEL

Kind = Literal["slices", "trades", "quotes", "book", "bars", "messages"]

NEEDS: dict[str, tuple[str, ...]] = {
    "slices": ("time", "mid", "spread", "volume"),
    "trades": ("time", "price", "size"),
    "quotes": ("time", "bid", "ask"),
    "book": ("time", *LEVEL),
    "bars": ("time", "open", "volume"),
}
ALSO: dict[str, tuple[str, ...]] = {
    "slices": ("depth", "flow", "cost", "slope"),
    "trades": ("side",),
    "quotes": ("volume", "flow"),
    "book": ("volume", "flow"),
    "bars": ("high", "low", "close", "flow"),
}
TAPE = ("mid", "spread", "depth")
"""What a tape may take beside a book; in calibration they are the book's own, and naming them has no effect."""


def told(has: Callable[[str], bool], own: Mapping[str, str], header: Sequence[str], tape: bool, where: str) -> Kind:
    """The kind whose columns a file has.

    Args:
        has: whether it has a column of ours.
        own: where it has other names.
        header: its columns.
        tape: whether slices are wanted.
        where: what messages begin with.

    Raises:
        InputError: naming the columns that are missing of the nearest kind.
    """
    kinds: tuple[Kind, ...] = ("slices", "quotes", "bars", "trades")
    missing = {kind: [name for name in NEEDS[kind] if not has(name)] for kind in kinds}
    for kind in kinds:
        if not set(missing[kind]) - {"time"}:
            return kind
    near: Kind = "slices" if tape else min(missing, key=lambda kind: len(missing[kind]))
    also = [f"{kind} need {', '.join(NEEDS[kind])}" for kind in kinds if kind != near]
    lacks = ", ".join(f"{name!r} as {own[name]!r}" if name in own else repr(name) for name in missing[near])
    several = len(missing[near]) > 1
    raise InputError(
        f"{where}: column{'s' * several} {lacks} {'are' if several else 'is'} missing; {near} need "
        f"{', '.join(NEEDS[near])}, {', '.join(also)}, a book needs {', '.join(LEVEL)}. {columns.there(header)}"
        f"{'; say what separates them: separator' if len(header) == 1 else ''}"
    )
