"""What a user can mend is one of our errors; everything else keeps its traceback."""

import ast
import pickle
import re
import subprocess
import sys
import traceback
from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from tqdm import tqdm

import exec_env
from exec_env.base.errors import ExecEnvError, InputError, Interrupted, NoBound, UnknownOption
from exec_env.base.validation import from_mapping, require, require_count, shown
from exec_env.data.tape import Tape
from exec_env.harness import evaluate
from exec_env.harness.jobs.tasks import Failure, Result, Task, run_tasks, workers
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.presets import with_overrides
from exec_env.optimum import dynamic_programming, lq, relaxation
from exec_env.optimum.schedule import best_schedule

ROOT = Path(exec_env.__file__).parents[1]
SOURCES = sorted(
    path for folder in ("exec_env", "agents", "baselines", "scripts") for path in (ROOT / folder).rglob("*.py")
)
CLUMSY = """
import numpy as np


class Clumsy:
    action_mode = "pace"

    def __init__(self, market, order):
        pass

    def act(self, observations):
        return np.zeros(3) + np.zeros(4)
"""

ALLOWED = {
    "exec_env/harness/training/weights.py": "NumPy's, of an action space in a file",
    "exec_env/one_asset/problem.py": "Python's, of a class that does not say what it takes",
    "exec_env/one_asset/snapshot.py": "Python's, of a time that is none",
    "exec_env/one_asset/limit_price.py": "Python's, of a text that is no number",
    "exec_env/base/validation.py": "what numbers of any library say of themselves",
    "exec_env/base/csv_files.py": "pandas', of a file that is no table",
    "exec_env/base/files.py": "Python's, of a name with a zero byte and of JSON; NumPy's, of a file that is no array",
    "exec_env/base/plain_yaml.py": "PyYAML's, of dates that are none",
    "exec_env/data/columns.py": "pandas' and Python's parser's, of a user's arithmetic",
    "exec_env/data/features.py": "NumPy's, of a column that holds no numbers",
    "exec_env/data/reading.py": "Python's, of a zone that is no path",
    "exec_env/data/sessions.py": "the calendars', of a year that they do not know",
    "exec_env/data/tape.py": "NumPy's, of columns that are no numbers",
    "exec_env/harness/tca.py": "pandas', of a time that is none",
    "scripts/texts.py": "Python's, of a text that is no number",
    "exec_env/harness/jobs/tasks.py": "Ray's, of an address",
    "exec_env/harness/studies/offline.py": "Python's and PyYAML's, of a text that is no number",
    "exec_env/one_asset/actions.py": "NumPy's, of an action that is no number",
    "exec_env/one_asset/randomise.py": "Python's, of a text that is no range",
    "exec_env/harness/training/loop.py": "pandas', of a log that was spoilt",
    "exec_env/harness/reports/report.py": "pandas', of a log that was spoilt",
    "agents/sb3.py": "torch's, of numbers that are not finite",
    "scripts/live.py": "Python's, of JSON and of times",
}
"""Where ValueError is caught, because others raise it."""


def _caught(handler: ast.ExceptHandler | ast.Call) -> set[str]:
    kinds = handler.type if isinstance(handler, ast.ExceptHandler) else ast.Tuple(handler.args)
    return {node.id for node in ast.walk(kinds) if isinstance(node, ast.Name)} if kinds else {""}


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_our_code_raises_errors_of_its_own_and_catches_no_more_than_it_means(path: Path) -> None:
    text, name = path.read_text(), str(path.relative_to(ROOT))
    if "exec_env/agents" in name or "exec_env/baselines" in name or "exec_env/cli" in name:
        return  # the same files under another name
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call | ast.Name):
            made = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            assert getattr(made, "id", "") not in ("ValueError", "Exception"), f"{name}:{node.lineno}"
        suppresses = isinstance(node, ast.Call) and "suppress" in ast.unparse(node.func)
        if isinstance(node, ast.ExceptHandler) or suppresses:
            caught, line = _caught(node), lines[node.lineno - 1]
            assert "" not in caught, f"{name}:{node.lineno}: catches all"
            if "Exception" in caught:
                assert "#" in line, f"{name}:{node.lineno}: no comment says why"
            if "ValueError" in caught:
                assert name in ALLOWED, f"{name}:{node.lineno}: catches ValueError; ours is InputError or NoBound"


def test_no_reason_to_catch_value_errors_outlives_its_use() -> None:
    catches = re.compile(r"(except|suppress\().*\b(ValueError|UNREADABLE)\b")
    stale = [name for name in ALLOWED if not catches.search((ROOT / name).read_text())]
    assert not stale


def test_a_programming_error_of_an_agent_shows_its_own_file_and_line() -> None:
    class Clumsy:
        action_mode = "pace"

        def act(self, observations: np.ndarray) -> np.ndarray:
            return np.zeros(3) + np.zeros(4)

    with pytest.raises(ValueError, match="operands could not be broadcast") as raised:
        evaluate([Clumsy()], episodes=2, optimum=False)
    assert not isinstance(raised.value, ExecEnvError)
    last = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert Path(last.filename) == Path(__file__)
    assert last.line == "return np.zeros(3) + np.zeros(4)"


@pytest.mark.slow
def test_a_command_line_shows_the_traceback_of_an_agent_that_fails(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CLUMSY)
    command = [sys.executable, str(ROOT / "scripts" / "evaluate.py"), "mine:Clumsy", "--episodes", "2", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert re.search(r'mine\.py", line 12, in act', done.stderr)
    assert "error:" not in done.stderr.splitlines()[0]


def test_an_ill_shaped_array_in_a_bound_is_not_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lq, "minimise", lambda q: np.zeros(3) + np.zeros(4))
    for solve in (lq.solve, lq.solve_linearised, relaxation.solve):
        with pytest.raises(ValueError, match="operands could not be broadcast") as raised:
            solve(Market(volatility=0.0123), Order())
        assert not isinstance(raised.value, ExecEnvError)


@pytest.mark.parametrize(
    ("solve", "market"),
    [
        (lq.solve, Market(impact_exponent=0.6)),
        (lq.solve, Market(permanent_impact=1.0)),
        (lq.solve_linearised, Market(impact_exponent=0.6, permanent_impact=1.0)),
        (dynamic_programming.solve, Market(signal_volatility=0.1)),
        (dynamic_programming.solve, Market(volatility=torch.tensor(0.02))),
    ],
)
def test_a_problem_without_a_bound_is_told_apart_from_input_that_is_wrong(solve: Any, market: Market) -> None:
    with pytest.raises(NoBound) as raised:
        solve(market, Order())
    assert not isinstance(raised.value, InputError)


@pytest.mark.parametrize("solve", [lq.solve, lq.solve_linearised, best_schedule, relaxation.solve])
def test_arguments_in_the_wrong_order_are_a_type_error_and_no_number(solve: Any) -> None:
    with pytest.raises(TypeError, match="market must be of type Market, not Order"):
        solve(Order(), Market())
    with pytest.raises(TypeError, match="order must be of type Order, not float"):
        solve(Market(), 1e6)


def test_a_grid_that_is_no_count_is_refused() -> None:
    for given in ({"n_grid": 41.5}, {"n_grid": "41"}, {"n_nodes": 0}):
        with pytest.raises(InputError, match="must be a whole number"):
            lq.solve(Market(), Order(), **given)
    with pytest.raises(InputError, match="resolution = 17: must be a multiple of 16"):
        dynamic_programming.solve(Market(), Order(), 17)


def _broken(text: str) -> Result:
    raise RuntimeError(text)


def _refused(text: str) -> Result:
    raise InputError(text)


def _unsolved(text: str) -> Result:
    raise NoBound(text)


def _clumsy() -> Result:
    np.zeros(3) + np.zeros(4)
    raise AssertionError


def test_a_task_with_a_bug_keeps_its_traceback_and_one_with_bad_arguments_its_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = [
        Task("clumsy", _clumsy, {}),
        Task("refused", _refused, {"text": "shares = -1: must be > 0"}),
        Task("unsolved", _unsolved, {"text": "no optimum"}),
    ]
    with workers("off", attempts=2) as run, tqdm(disable=True) as bar:
        failures = run_tasks(tasks, tmp_path, run, bar)
    assert failures["refused"] == Failure("shares = -1: must be > 0", refused=True)
    assert failures["unsolved"] == Failure("no optimum", refused=True)
    assert not failures["clumsy"].refused
    assert "np.zeros(3) + np.zeros(4)" in failures["clumsy"].trace
    assert Path(__file__).name in failures["clumsy"].trace
    said = capsys.readouterr().err
    assert "clumsy:" in said
    assert "np.zeros(3) + np.zeros(4)" in said


@pytest.mark.parametrize("kind", [InputError, UnknownOption, NoBound, lq.NoOptimum, Interrupted])
def test_errors_survive_the_way_between_processes(kind: type[ExecEnvError]) -> None:
    back = pickle.loads(pickle.dumps(kind("shares = -1: must be > 0")))
    assert type(back) is kind
    assert str(back) == "shares = -1: must be > 0"


def test_an_unknown_keyword_is_a_type_error_in_pythons_words_with_the_nearest_name() -> None:
    with pytest.raises(TypeError, match=r"\(\) got an unexpected keyword argument 'sharse'; did you mean 'shares'\?"):
        gym.make("AlmgrenChriss-v0", sharse=1)
    with pytest.raises(UnknownOption, match=r"\(\) got an unexpected keyword argument 'frameskip' was raised"):
        gym.make("AlmgrenChriss-v0", frameskip=4)
    for make in (gym.make_vec, lambda id, **given: evaluate(["twap"], id, **given)):
        with pytest.raises(TypeError, match="unexpected keyword argument 'volatilty'; did you mean 'volatility'"):
            make("AlmgrenChriss-v0", volatilty=0.1)
    with pytest.raises(UnknownOption):
        with_overrides(Market(), Order(), {"sharse": 1})


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"volatility": torch.tensor([0.1, 0.2])}, r"Market\.volatility = tensor.*: must be a finite number >= 0"),
        ({"volatility": torch.tensor(1j)}, r"Market\.volatility = .*: must be a finite number >= 0"),
        ({"volatility": np.array([0.1, 0.2])}, r"Market\.volatility = array.*: must be a finite number >= 0"),
        ({"volatility": 10**400}, r"Market\.volatility = 1e400 or so: must be a finite number >= 0"),
        ({"volatility": 10**9000}, r"Market\.volatility = 1e9000 or so: must be a finite number >= 0"),
        ({"stress": np.array(["none", "none"])}, r"Market\.stress = array.*: must be 'none' or"),
    ],
)
def test_values_that_are_no_numbers_are_refused_by_field(given: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError, match=error):
        Market(**given)


def test_a_tensor_of_one_number_stays_a_tensor_but_a_count_becomes_a_whole_number() -> None:
    assert isinstance(Market(volatility=torch.tensor(0.02)).volatility, torch.Tensor)
    assert type(Order(n_steps=torch.tensor(5)).n_steps) is int
    with pytest.raises(InputError, match="must be a whole number"):
        Order(n_steps=torch.tensor(5.0))


def test_arguments_of_functions_are_refused_whatever_they_are() -> None:
    for value in (torch.tensor([1.0, 2.0]), np.array([1.0, 2.0]), "1", None, 10**9000, object(), float("nan")):
        with pytest.raises(InputError, match="rate = "):
            require(rate=value)
    for value in (torch.tensor([1, 2]), np.array([1, 2]), "1", None, 1.5, True, -(10**9000)):
        with pytest.raises(InputError, match="count = "):
            require_count(count=value)


@pytest.mark.parametrize("columns", [5, "mid=price", ["mid"], {"mid": 5}, {5: "mid"}, {("mid",): "mid"}])
def test_tape_columns_that_are_no_mapping_of_texts_are_refused(columns: Any, tmp_path: Path) -> None:
    tape = tmp_path / "tape.csv"
    tape.write_text("time,mid,spread,volume\n2025-03-03 09:30,10,0.01,100\n2025-03-03 09:35,10,0.01,100\n")
    with pytest.raises(InputError, match="tape_columns = .*: must be a mapping from our names to columns"):
        Tape.read(tape, columns)


def test_a_message_is_short_whatever_it_shows() -> None:
    bomb: Any = ["lol"] * 10
    for _ in range(12):
        bomb = [bomb] * 10
    assert len(shown(bomb)) < 20_000
    assert shown(0.25) == "0.25"


def test_a_field_that_is_missing_is_named() -> None:
    first = fields(Failure)[0].name
    with pytest.raises(InputError, match=f"here: has no field '{first}', which Failure needs"):
        from_mapping(Failure, {"refused": True}, "here")
