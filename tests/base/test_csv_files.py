"""Our own tables: no cell is a formula to a spreadsheet, and everything is read back as it was."""

from pathlib import Path

import pandas as pd
import pytest

from exec_env.base.csv_files import csv_text, read_csv, write_csv
from exec_env.base.errors import InputError

HOSTILE = ["=HYPERLINK(1)", "+1+1", "-2", "@SUM(A1)", "\tx", "'=x", "''-1", "'plain", "twap"]


def test_texts_that_begin_as_formulas_are_escaped_and_numbers_are_not() -> None:
    lines = csv_text(pd.DataFrame({"=agent": HOSTILE, "J": -1.5})).splitlines()
    assert lines[0] == "'=agent,J"
    assert all(line[0] not in '=+-@\t"' for line in lines)
    assert all(line.endswith(",-1.5") for line in lines[1:])
    assert lines[-1] == "twap,-1.5"


@pytest.mark.parametrize("kind", [object, "category"])
def test_what_was_escaped_comes_back_as_it_was(kind: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"agent": pd.Series(HOSTILE).astype(kind), "J": range(len(HOSTILE)), "=J": 0.5})
    before = frame.copy()
    write_csv(frame, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(frame, before)
    back = read_csv(tmp_path / "table.csv")
    assert list(back.columns) == ["agent", "J", "=J"]
    assert back["agent"].tolist() == HOSTILE
    assert back["J"].tolist() == list(range(len(HOSTILE)))


def test_an_index_is_escaped_too() -> None:
    frame = pd.DataFrame({"J": [1.0]}, index=pd.Index(["=cmd|' /C calc'!A0"], name="agent"))
    assert csv_text(frame, index=True) == "agent,J\n'=cmd|' /C calc'!A0,1.0\n"


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(InputError, match="a folder"):
        read_csv(tmp_path)
    (tmp_path / "bad.csv").write_bytes(b'a,b\n"\xff')
    with pytest.raises(InputError, match=r"bad\.csv: not a CSV table"):
        read_csv(tmp_path / "bad.csv")
