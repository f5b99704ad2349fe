"""Text files of vendors: the line of names, wherever it stands, tells the format."""

from pathlib import Path

from exec_env.data.csv_table import TextTable
from exec_env.data.formats import FORMATS, recognise
from exec_env.data.reading import Reading
from exec_env.data.vendor_format import Format


def named(path: Path, reading: Reading) -> str | None:
    """The format that the user says, where the file can be of it; None where its line of names says otherwise.

    Raises:
        InputError: for a file that is no table.
    """
    if reading.format is None:
        return None
    said = FORMATS[reading.format]
    if reading.header:
        return reading.format
    names = _table(path, reading, said).names
    if said.headless:
        return reading.format if said.fits(names) or not (recognise(names) or "time" in names) else None
    return reading.format if said.holds(names) else None


def text_table(path: Path, reading: Reading, name: str | None) -> TextTable:
    """The reader of a text file.

    Args:
        path: the file.
        reading: what the user says of it.
        name: of its format, if it is said.
    """
    if name is not None:
        return _table(path, reading, FORMATS[name])
    plain = _table(path, reading, None)
    if reading.header or reading.skip:
        return plain
    # The line of names may come after other lines, and other lines between it and the rows.
    for skip in sorted({f.skip for f in FORMATS.values()}):
        if skip < plain.lines:
            found = recognise(_table(path, reading, None, skip).names)
            if found is not None and FORMATS[found].skip == skip:
                return _table(path, reading, FORMATS[found])
    return plain


def _table(path: Path, reading: Reading, said: Format | None, skip: int = 0) -> TextTable:
    table = TextTable(
        path,
        reading.separator or (said.separator if said else None),
        reading.decimal or (said.decimal if said else "."),
        reading.thousands,
        (),
        reading.skip or (said.skip if said else skip),
        said.after if said else 0,
    )
    if reading.header and table.nameless:  # others beside it have lines of names
        return table.named(reading.header)
    # A file of a format without a line of names may have got one lately.
    return table.named(said.header) if said and said.headless and not said.fits(table.names) else table
