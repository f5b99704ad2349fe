"""Cells of data files as numbers and as sides, with the row named that is neither."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.data.names import ALIASES, MAKER, SIDES, plain

_NOBODY = frozenset(("", "n", "na", "nan", "none", "null", "<na>", "unknown", "u", "-"))
_GROUPED, _COMMA = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d*)?"), re.compile(r"-?\d+,\d+")


def numbers(column: pd.Series, ours: str, where: str, clean: bool) -> np.ndarray:
    """A column as numbers, NaN where a cell is empty.

    Args:
        column: the cells.
        ours: our name of it, for messages.
        where: what messages begin with.
        clean: whether words become NaN too.

    Raises:
        InputError: naming row and cell, for a word.
    """
    found: np.ndarray = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    words = np.flatnonzero(np.isnan(found) & column.notna().to_numpy())
    if words.size and not clean:
        row, word = words[0], column.iloc[words[0]]
        hint = ""
        if _GROUPED.fullmatch(str(word)):
            hint = "; if commas group digits, say thousands = ','"
        elif _COMMA.fullmatch(str(word)):
            hint = "; if the comma is a decimal mark, say decimal = ','"
        raise InputError(f"{where}: row {column.index[row] + 1}, {ours!r}: {word!r} is not a number{hint}")
    return found


def sides(column: pd.Series, text: str, words: Mapping[str, float], where: str) -> np.ndarray:
    """+1 where the taker buys, −1 where the taker sells, NaN where nobody says.

    Args:
        column: the cells.
        text: what the column is called; a flag of the maker is told by its name.
        words: those of a format whose files these are, any other of which is nobody's; empty: ours.
        where: what messages begin with.

    Raises:
        InputError: naming a word that is no side, and for true and false where the name does not say of whom.
    """
    maker = not words and plain(text) in ALIASES["maker"]
    vocabulary = words or (MAKER if maker else SIDES)
    codes, cells = pd.factorize(column, use_na_sentinel=False)
    texts = [str(cell).strip().lower().removesuffix(".0") for cell in cells]
    for i, word in enumerate(texts):
        if words or word in vocabulary:
            continue
        if word in ("true", "false"):
            raise InputError(
                f"{where}: column 'side' as {text!r}: {word} does not say whose; call the column is_buyer_maker where "
                "it is true for a taker who sells"
            )
        if word not in _NOBODY:
            row = column.index[int((codes == i).argmax())]
            raise InputError(
                f"{where}: row {row + 1}, 'side': {word!r} must be buy or sell, b or s, B or A, 1 or -1, or none where "
                "it is not known"
            )
    return np.array([vocabulary.get(word, np.nan) for word in texts], dtype=np.float64)[codes]
