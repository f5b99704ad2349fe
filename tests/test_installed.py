"""What others get: the wheel's names and files, what an import pulls in, extras, and the command ``exec-env``."""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import exec_env
from exec_env.base import extras
from exec_env.base.errors import InputError
from exec_env.cli import list as list_command
from exec_env.cli import main as command

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = {"arch", "matplotlib", "optuna", "pandas", "ray", "scipy", "stable_baselines3", "tensorboard", "torch", "tyro"}


def run(*arguments: Any, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command as a user runs it, in whose Python nothing of this checkout is found by accident."""
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}
    own |= {"NO_COLOR": "1", "COLUMNS": "100"} | environment
    return subprocess.run(list(map(str, arguments)), cwd=cwd, env=own, capture_output=True, text=True, check=False)


def imported(code: str) -> set[str]:
    """Top-level packages that are loaded after ``code``, in a fresh process."""
    said = run(sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)", PYTHONPATH=str(ROOT))
    assert said.returncode == 0, said.stderr
    return {name.partition(".")[0] for name in said.stdout.splitlines()[-1].split()}


# One name


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["exec_env", "agents", "baselines", "scripts", "tests"])
def test_nothing_imports_agents_baselines_or_scripts_from_the_top(folder: str) -> None:
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            found += [f"{path}: {n}" for n in names if n.partition(".")[0] in ("agents", "baselines", "scripts")]
    assert found == []


@pytest.mark.slow
def test_names_that_others_rely_on_are_found_after_importing_the_package_alone() -> None:
    code = """
import exec_env
assert callable(exec_env.lq.solve)
assert exec_env.harness.evaluate is exec_env.evaluate
assert round(exec_env.baselines.lqr.gain(0.1, 1.0), 3) == 0.27
for name in exec_env.__all__:
    getattr(exec_env, name)
env = exec_env.make("AlmgrenChriss-v0", side="buy")
assert isinstance(env.unwrapped.market, exec_env.Market) and isinstance(env.unwrapped.order, exec_env.Order)
"""
    done = run(sys.executable, "-c", code, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["exec_env", "exec_env.harness", "exec_env.baselines"])
def test_a_name_that_does_not_exist_is_an_attribute_error(module: str) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = importlib.import_module(module).nothing


# Light


def test_importing_the_package_registers_the_environments_and_imports_nothing_heavy() -> None:
    assert imported("import exec_env, gymnasium; gymnasium.spec('AlmgrenChriss-v0')") & HEAVY == set()


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_commands_help_imports_nothing_heavy(option: str) -> None:
    code = f"import runpy, sys; sys.argv = ['exec-env', {option!r}]; runpy.run_module('exec_env', run_name='__main__')"
    assert imported(code) & HEAVY == set()


@pytest.mark.slow
def test_one_environment_and_an_evaluation_need_no_torch() -> None:
    code = "import gymnasium, exec_env; gymnasium.make('AlmgrenChriss-v0').reset(seed=0)\n"
    code += "exec_env.evaluate(['twap', 'almgren-chriss'], episodes=20, n_steps=4, shares=2e4)"
    assert imported(code) & {"torch", "stable_baselines3", "tensorboard", "ray"} == set()


# Extras


def test_every_extra_of_the_project_is_known_to_the_sentence_that_names_it() -> None:
    imports = {
        "stable-baselines3": "stable_baselines3",
        "sb3-contrib": "sb3_contrib",
        "pillow": "PIL",
        "exchange-calendars": "exchange_calendars",
        "databento-dbn": "databento_dbn",
    }
    extra_of = {}
    for extra, requirements in PROJECT["project"]["optional-dependencies"].items():
        for requirement in requirements if extra not in ("dev", "all") else ():
            name = re.split(r"[<>=\[]", requirement)[0]
            if name != "exec-env":
                extra_of[imports.get(name, name)] = extra
    assert extra_of == extras.EXTRA_OF
    everything = PROJECT["project"]["optional-dependencies"]["all"][0]
    assert {*re.findall(r"[\w-]+", everything)} - {"exec-env"} == {*extra_of.values()}


def test_a_missing_package_is_one_sentence_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^study: optuna is not installed: pip install 'exec-env\[tune\]'$"):
        extras.require_packages("optuna", what="study")
    with (
        pytest.raises(ImportError, match=r"^torch is not installed: pip install 'exec-env\[torch\]'$"),
        extras.importing(),
    ):
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")


def test_a_module_that_is_missing_for_another_reason_keeps_its_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), extras.importing():
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match="broken"), extras.importing():
        raise ModuleNotFoundError("broken", name="torch.nothing")  # torch is there


# The command


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["exec-env", *arguments])
    try:
        command.main()
    except SystemExit as error:
        return int(error.code or 0)
    return 0


def test_help_names_every_command_and_each_is_a_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch) == call(monkeypatch, "--help") == 0
    said = capsys.readouterr().out
    for name in command.COMMANDS:
        assert f"\n  {name} " in said
        assert callable(importlib.import_module(f"exec_env.cli.{name}").main)
    others = {path.stem for path in (ROOT / "scripts").glob("[a-z]*.py")} - {*command.COMMANDS}
    assert others == {"main", "options", "texts"}


def test_an_unknown_command_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "evalute") == 2
    assert capsys.readouterr().err.startswith("error: unknown command 'evalute'; did you mean 'evaluate'? Known: ")


def test_a_mistake_in_the_code_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(argv: Any) -> None:
        raise ValueError("operands could not be broadcast together")

    with pytest.raises(ValueError, match="broadcast"):
        command.run(wrong, [])


def test_the_list_has_every_environment_agent_and_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"environments", "presets", "agents", "formats"}
    assert found["environments"].keys() == exec_env.ENVIRONMENTS.keys()
    assert found["presets"].keys() == exec_env.PRESETS.keys()
    assert found["agents"].keys() == {point.name for point in entry_points(group="exec_env.agents")}
    assert found["agents"]["ppo"]["kind"] == "learner"
    assert (found["agents"]["twap"]["kind"], found["agents"]["twap"]["needs"]) == ("baseline", [])
    assert all(row["description"] for rows in found.values() for row in rows.values())


def test_the_list_says_what_to_install_for_an_agent_whose_extra_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(list_command, "is_installed", lambda extra: extra != "sb3")
    assert call(monkeypatch, "list", "agents") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["ppo"].endswith("not installed: pip install 'exec-env[sb3]'")
    assert lines["dqn"].endswith("[torch]")
    assert "environments:" not in lines


def test_agents_need_the_extras_of_what_their_modules_import() -> None:
    points = PROJECT["project"]["entry-points"]["exec_env.agents"]
    for name, value in points.items():
        module = importlib.import_module(value.partition(":")[0])
        names = {type(v).__module__ for v in vars(module).values()} | {
            getattr(v, "__module__", "") for v in vars(module).values()
        }
        extra_of = {"sb3_contrib": "recurrent", "stable_baselines3": "sb3"}
        found = [extra for package, extra in extra_of.items() if any(str(n).startswith(package) for n in names)]
        needed = found[0] if found else "torch" if ".agents." in value else None
        assert re.findall(r"\[(.*)\]", value) == ([needed] if needed else []), name


# Built and installed


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of a copy of the checkout."""
    out = tmp_path_factory.mktemp("built")
    code = f"import setuptools.build_meta as b; print(b.build_sdist({str(out)!r})); print(b.build_wheel({str(out)!r}))"
    source = out / "source"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_symlink():
                (source / name).symlink_to(os.readlink(ROOT / name))
            else:
                (source / name).write_bytes((ROOT / name).read_bytes())
    done = run(sys.executable, "-c", code, cwd=source)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.installed
def test_the_wheel_puts_one_name_into_site_packages_and_carries_its_data(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    assert {name.partition("/")[0] for name in names} == {"exec_env", "exec_env-0.1.0.dist-info"}
    wanted = {"py.typed", "agents/dqn.yaml", "agents/dqn.py", "baselines/twap.py", "cli/main.py", "__main__.py"}
    wanted |= {"calibration/report.html", "harness/reports/style.css", "harness/reports/report.html"}
    assert {f"exec_env/{name}" for name in wanted} <= {*names}
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "exec_env").rglob("*.py")}
    assert ours <= {*names}


@pytest.mark.installed
def test_the_source_distribution_carries_files_and_no_links(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
    assert [name for name, member in members.items() if member.issym() or member.islnk()] == []
    for name in ("exec_env/agents/dqn.py", "exec_env/cli/main.py", "exec_env/agents/dqn.yaml", "LICENSE", "README.md"):
        assert members[name].size > 0, name


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Run a program of a clean environment with the wheel, in a folder that has such names as ours."""
    folder, here = tmp_path_factory.mktemp("clean"), tmp_path_factory.mktemp("here")
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = run(*pip, "--constraint", ROOT / "constraints.txt", next(built.glob("*.whl")))
    assert done.returncode == 0, done.stderr
    for name in ("agents", "baselines", "scripts"):
        (here / name).mkdir()
        (here / name / "__init__.py").write_text("raise ImportError('the wrong package')\n")

    def called(program: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
        return run(folder / "bin" / program, *arguments, cwd=here)

    return called


@pytest.mark.installed
def test_without_extras_environments_and_baselines_work_beside_packages_of_the_same_names(
    installed: Callable[..., Any],
) -> None:
    code = """
import importlib.util, gymnasium as gym, exec_env
env = gym.make("AlmgrenChriss-v0"); env.reset(seed=0); env.step(4)
envs = gym.make_vec("AlmgrenChriss-v0", num_envs=8); envs.reset(seed=0); envs.step(envs.action_space.sample())
result = exec_env.evaluate(["twap", "almgren-chriss", "adaptive"], episodes=200)
print(*result.per_agent["gap_percent"].sort_values().index)
for name in ("torch", "stable_baselines3", "tensorboard", "ray", "optuna"):
    assert importlib.util.find_spec(name) is None, name
"""
    done = installed("python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["adaptive", "almgren-chriss", "twap"]


@pytest.mark.installed
def test_without_extras_the_command_works_and_says_in_one_sentence_what_training_needs(
    installed: Callable[..., Any],
) -> None:
    done = installed("exec-env", "schedule", "almgren-chriss", "--out", "schedule")
    assert done.returncode == 0, done.stderr
    assert "kappa" in done.stdout
    done = installed("python", "-m", "exec_env", "train", "dqn")
    sentence = "error: agent 'dqn': torch is not installed: pip install 'exec-env[torch]'\n"
    assert (done.returncode, done.stderr) == (2, sentence)
    done = installed("python", "-c", "import exec_env.envs.sb3")
    assert done.stderr.endswith("stable_baselines3 is not installed: pip install 'exec-env[sb3]'\n")
    for arguments in (["train", "--help"], ["list"], ["evaluate", "--help"], ["--version"]):
        done = installed("exec-env", *arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    for name, extra in {"tune": "tune", "results": "results", "collect": "offline", "benchmark": "torch"}.items():
        done = installed("exec-env", name, *(["twap"] if name == "collect" else []))
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert done.stderr.endswith(f"pip install 'exec-env[{extra}]'\n")


SCRIPT = """
import exec_env
from exec_env import Market, Order, evaluate
from exec_env.baselines import lqr

reveal_type(Order(shares=1e5).shares)
reveal_type(exec_env.lq.solve(Market(), Order()))
reveal_type(evaluate(["twap"]))
reveal_type(exec_env.make("AlmgrenChriss-v0"))
exec_env.evaluat
Order(share=1e5)
"""


@pytest.mark.installed
def test_a_type_checker_sees_the_wheels_types(built: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    (tmp_path / "mine.py").write_text(SCRIPT.lstrip())
    done = run(
        *(sys.executable, "-m", "mypy", "--no-incremental", "--ignore-missing-imports", "mine.py"),
        cwd=tmp_path,
        MYPYPATH=str(tmp_path / "site"),
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("mine.py")]
    for line, text in (
        (5, 'Revealed type is "float"'),
        (6, 'Revealed type is "exec_env.optimum.lq.Solution"'),
        (7, 'Revealed type is "exec_env.harness.table.Evaluation"'),
        (8, "gymnasium.core.Env["),
        (9, 'Module has no attribute "evaluat"'),
        (10, 'Unexpected keyword argument "share" for "Order"'),
    ):
        assert any(found.startswith(f"mine.py:{line}:") and text in found for found in lines), (text, done.stdout)
