"""The house: imports point one way, no module imports itself through others, and files are short."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

import exec_env

PACKAGE = Path(exec_env.__file__).parent
LAYERS = (
    *("base", "market", "data", "optimum", "envs", "one_asset", "unknown_market"),
    *("harness", "calibration"),
    *(("agents", "baselines"), "cli"),
)
"""Sub-packages from the ground up. Each may import those below it, not those beside it or above it."""
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in ([layer] if isinstance(layer, str) else layer)}

LONG: dict[str, str] = {}
"""Files of over 400 lines, each with the reason why it is one idea."""

Graph = Mapping[str, Iterable[str]]


def module_files() -> dict[str, Path]:
    """Name of each module of the package, and its file; links to folders are followed."""
    found = {}
    for name in ("", *RANK):
        for file in (PACKAGE / name).rglob("*.py") if name else PACKAGE.glob("*.py"):
            parts = ("exec_env", *file.relative_to(PACKAGE).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(source: str, modules: Iterable[str]) -> set[str]:
    """Which of ``modules`` a module imports, inside functions too, but not only for types."""
    known, found = set(modules), set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for other in node.orelse:
                visit(other)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are by full name"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name in known else str(node.module) for name in names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return found & known


def graph() -> dict[str, set[str]]:
    """Imports of every module of the package."""
    files = module_files()
    return {name: imports(file.read_text(), files) for name, file in files.items()}


def package(module: str) -> str:
    """Sub-package of a module; the public face, ``exec_env`` and the files beside it, is above all of them."""
    name = [*module.split("."), ""][1]
    return name if name in RANK else ""


def between_packages(modules: Graph) -> dict[str, set[str]]:
    """Imports of every sub-package from other ones."""
    found: dict[str, set[str]] = {}
    for module, others in modules.items():
        found.setdefault(package(module), set()).update(package(other) for other in others)
    return {name: others - {name} for name, others in found.items()}


def cycle(edges: Graph) -> list[str]:
    """A cycle of the graph, from a node back to the same; empty where there is none."""
    done: set[str] = set()

    def search(path: list[str]) -> list[str]:
        for other in sorted(edges.get(path[-1], ())):
            if other in path:
                return [*path[path.index(other) :], other]
            if other not in done and (found := search([*path, other])):
                return found
        done.add(path[-1])
        return []

    return next((found for node in sorted(edges) if node not in done and (found := search([node]))), [])


def upward(modules: Graph) -> list[str]:
    """Imports of a sub-package that is not below the importer's."""
    return sorted(
        f"{module} imports {other}"
        for module, others in modules.items()
        for other in others
        if (mine := package(module)) and mine != package(other) and RANK.get(package(other), len(RANK)) >= RANK[mine]
    )


def test_every_sub_package_has_its_layer() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders == set(RANK)


@pytest.mark.slow
def test_imports_point_down() -> None:
    assert upward(graph()) == []


@pytest.mark.slow
def test_no_sub_packages_import_each_other() -> None:
    assert cycle(between_packages(graph())) == []


@pytest.mark.slow
def test_no_modules_import_each_other() -> None:
    assert cycle(graph()) == []


@pytest.mark.slow
def test_the_package_is_found_under_one_name_only() -> None:
    outside = {"agents", "baselines", "scripts"}
    for name, file in module_files().items():
        assert not imports(file.read_text(), outside), name


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(module_files()))
def test_a_file_is_at_most_400_lines_long_or_says_why(name: str) -> None:
    lines = len(module_files()[name].read_text().splitlines())
    assert lines <= 400 or name in LONG, f"{lines} lines"
    assert lines > 400 or name not in LONG, f"{lines} lines need no reason"


# What the checks above would find, on graphs that are made up.


def test_a_cycle_is_found() -> None:
    assert cycle({"a": ["b", "d"], "b": ["c"], "c": ["a"], "d": []}) == ["a", "b", "c", "a"]
    assert cycle({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}) == []


def test_an_upward_import_is_found_and_one_between_neighbours_too() -> None:
    made_up = {
        "exec_env.base.x": {"exec_env.market.y"},
        "exec_env.market.y": {"exec_env.base.z", "exec_env.market.w"},
        "exec_env.agents.a": {"exec_env.baselines.b"},
        "exec_env.data.d": {"exec_env"},
    }
    assert upward(made_up) == [
        "exec_env.agents.a imports exec_env.baselines.b",
        "exec_env.base.x imports exec_env.market.y",
        "exec_env.data.d imports exec_env",
    ]
    assert cycle(between_packages(made_up)) == ["base", "market", "base"]


def test_imports_in_functions_count_and_those_for_types_do_not() -> None:
    source = """
from typing import TYPE_CHECKING
from exec_env import a
from exec_env.b import thing
if TYPE_CHECKING:
    from exec_env import c
else:
    import exec_env.d
def late():
    from exec_env.e import thing
"""
    modules = {"exec_env", *(f"exec_env.{x}" for x in "abcdef")}
    assert imports(source, modules) == {f"exec_env.{x}" for x in "abde"}
