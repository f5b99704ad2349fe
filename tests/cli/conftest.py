"""Command lines in the process of the tests, which saves the seconds that a new one takes to import everything."""

import io
import sys
from collections.abc import Callable
from typing import Any

import pytest

from exec_env.cli.main import run


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command line in this process: exit status, stdout, stderr."""

    def called(script: Any, *arguments: Any, text: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        monkeypatch.setattr(sys, "argv", ["script.py", *map(str, arguments)])
        status = 0
        try:
            run(script.main)
        except SystemExit as error:
            status = int(error.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return called
