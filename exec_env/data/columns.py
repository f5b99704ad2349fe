"""Columns of a table by name, or by arithmetic of the names that a file has."""

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.validation import shown

LEVEL = ("bid_price_#", "bid_size_#", "ask_price_#", "ask_size_#")
"""Columns of each level of a book; # is its number, from 0 or 1."""
_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def require_mapping(given: Any, name: str) -> None:
    """Refuse what is no mapping of our names to a file's columns.

    Raises:
        InputError: naming the argument, its value and what is allowed.
    """
    if not isinstance(given, Mapping) or not all(isinstance(text, str) for pair in given.items() for text in pair):
        raise InputError(
            f"{name} = {shown(given)}: must be a mapping from our names to columns or arithmetic of columns, all texts"
        )


def evaluate(frame: pd.DataFrame, ours: str, text: str, name: str, needs: str) -> pd.Series:
    """A column of ``frame``, or an arithmetic expression of its columns.

    Args:
        frame: the data.
        ours: our name of the column.
        text: its name in the data, or the expression.
        name: what error messages call the data.
        needs: which columns it needs, for the message where one is missing.

    Raises:
        InputError: for a column that is missing or comes twice, and for what is no arithmetic.
    """
    if text in frame:
        if isinstance(frame[text], pd.DataFrame):
            raise InputError(f"{name}: column {ours!r}: the data has more than one column {text!r}")
        return frame[text]
    if ours == "time" and (both := two(text, frame.columns)):
        return frame[both[0]].astype(str).str.strip() + " " + frame[both[1]].astype(str).str.strip()
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if not any(isinstance(node, ast.Name) for node in ast.walk(tree)):
            raise KeyError(text)
        return _arithmetic(tree, frame)
    except (KeyError, SyntaxError, RecursionError, MemoryError):
        what = f"column {ours!r}" if text == ours else f"column {ours!r} as {text!r}"
        raise InputError(f"{name}: {what} is missing; it needs {needs}. {there([str(c) for c in frame])}") from None
    except (TypeError, ValueError, ArithmeticError) as error:  # what pandas says of text and of numbers too large
        raise InputError(f"{name}: column {ours!r} as {text!r}: {error}") from None


def _arithmetic(node: ast.AST, frame: pd.DataFrame) -> Any:
    """Columns, numbers, + - * / and brackets; nothing that could call anything.

    Raises:
        KeyError: for whatever else there is.
    """
    if isinstance(node, ast.Name):
        return frame[node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_arithmetic(node.operand, frame))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_arithmetic(node.left, frame), _arithmetic(node.right, frame))
    raise KeyError(type(node).__name__)


def names(text: str) -> set[str]:
    """The columns that a name or an expression takes; only the text itself where it cannot be read as arithmetic.

    >>> sorted(names("(buys + sells) / mid") - {"(buys + sells) / mid"})
    ['buys', 'mid', 'sells']
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {text}
    return {text} | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def two(text: str, header: Collection[str]) -> tuple[str, str] | None:
    """The two columns of a file that ``text`` names with a space between them, a day and a clock; None: not two.

    >>> two("<DATE> <TIME>", ["<DATE>", "<TIME>", "<OPEN>"])
    ('<DATE>', '<TIME>')
    """
    words = text.split(" ")
    for i in range(1, len(words)):
        day, clock = " ".join(words[:i]), " ".join(words[i:])
        if day in header and clock in header:
            return day, clock
    return None


def parts_of(text: str, header: Collection[str]) -> set[str]:
    """The columns that ``text`` takes from a file: itself where the file has it, else the names in it."""
    return {text} if text in header else (names(text) - {text}) or {text}


def readable(text: str, header: Collection[str]) -> bool:
    """Whether a file has all columns that ``text`` takes."""
    return parts_of(text, header) <= set(header)


def there(header: Collection[str]) -> str:
    """What columns there are, for messages."""
    return f"Its columns: {', '.join(list(map(str, header))[:12])}{' ...' if len(header) > 12 else ''}"


def numbered(text: str, number: int) -> str:
    """The column of a level of the book: ## is its number in two digits, # as it is.

    >>> numbered("bid_px_##", 3), numbered("bids[#].price", 3)
    ('bid_px_03', 'bids[3].price')
    """
    return text.replace("##", f"{number:02d}").replace("#", str(number))


def levels(header: Collection[str], given: Mapping[str, str]) -> list[int]:
    """Numbers of the levels of the book that a file has, one after the other.

    Args:
        header: the file's columns.
        given: where it has other names: our name, with # -> its column or arithmetic, with #.

    >>> levels(["p0", "p1", "p2", "p4"], dict.fromkeys(LEVEL, "p#"))
    [0, 1, 2]
    """
    found = [i for i in range(200) if all(readable(numbered(given.get(name, name), i), header) for name in LEVEL)]
    return [i for i in found if i - found[0] == found.index(i)]


def at_levels(numbers: list[int], given: Mapping[str, str]) -> dict[str, str]:
    """Columns of the book: our names, levels counted from 1 -> the column or arithmetic that each is read from."""
    return {
        name.replace("#", str(ours)): numbered(given.get(name, name), theirs)
        for ours, theirs in enumerate(numbers, 1)
        for name in LEVEL
    }
