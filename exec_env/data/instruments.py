"""Which instrument each row of a file is of."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.data.checks import Counted
from exec_env.data.names import INSTRUMENT_NUMBERS, SYMBOLS


def naming(header: Sequence[str]) -> list[str]:
    """Columns that name the instrument; one of texts first, one of numbers says it where there is no text.

    >>> naming(["time", "instrument_id", "price", "Symbol"])
    ['Symbol', 'instrument_id']
    """
    plain = {name: name.lower().strip("<> ") for name in header}
    texts = [name for name in header if plain[name] in SYMBOLS - INSTRUMENT_NUMBERS]
    return [*texts[:1], *[name for name in header if plain[name] in INSTRUMENT_NUMBERS][:1]]


def selected(
    raw: pd.DataFrame, naming: Sequence[str], symbol: str | None, counted: Counted, path: Path
) -> pd.DataFrame:
    """Rows of the instrument that counts.

    Args:
        raw: rows of the file.
        naming: its columns that name the instrument.
        symbol: the one that counts; None: that of the file.
        counted: is told what instruments there are, and how many rows are of others.
        path: the file.

    Raises:
        InputError: where there are several instruments and none is named.
    """
    if not naming:
        return raw
    column = raw[naming[0]]
    for other in naming[1:]:
        if column.isna().any():
            column = column.astype(object).where(column.notna(), raw[other])
    codes, cells = pd.factorize(column, use_na_sentinel=False)
    names = [str(cell).strip() for cell in cells]
    counted.symbols |= dict.fromkeys(names)
    if symbol is None:
        if len(counted.symbols) > 1:
            some = list(counted.symbols)
            shown = ", ".join(some[:5]) + (" ..." if len(some) > 5 else "")
            raise InputError(f"{path}: {len(some)} instruments, {shown}: name one with symbol")
        return raw
    wanted = np.array([name == symbol for name in names], dtype=bool)[codes]
    counted.of_others += int((~wanted).sum())
    return raw[wanted]
