"""Examples in the README and in docstrings do what they print."""

import doctest
import importlib
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest

import exec_env
from exec_env import ENVIRONMENTS
from exec_env.harness.agents import known_agents

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MODULES = [
    module.name
    for module in pkgutil.walk_packages(exec_env.__path__, "exec_env.")
    if module.name != "exec_env.__main__"
]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_print_what_they_say(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


@pytest.mark.long
def test_the_readme_example_prints_what_it_says() -> None:
    result = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert result.attempted >= 5
    assert result.failed == 0


def test_the_readme_is_short_and_lists_every_environment_and_agent() -> None:
    assert len(README.splitlines()) <= 100
    for name in (*ENVIRONMENTS, *known_agents()):
        assert f"`{name}`" in README, name


def test_files_that_the_readme_links_to_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_make_targets_in_the_readme_exist() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in set(re.findall(r"`?make (\w+)`?", README)):
        assert f"make {target} " in listed, target


def glossary() -> list[tuple[str, str, str]]:
    """Term, code name and module of each row of the glossary."""
    table = [line for line in (ROOT / "docs" / "glossary.md").read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1:]]
    return [(term, name.strip("`"), module.strip("`")) for term, _, name, module in rows if module]


@pytest.mark.parametrize(("term", "name", "where"), glossary())
def test_a_code_name_of_the_glossary_is_where_the_glossary_says(term: str, name: str, where: str) -> None:
    module, _, owner = where.partition(":")
    found = importlib.import_module(module)
    found = getattr(found, owner) if owner else found
    assert hasattr(found, name) or name in getattr(found, "__annotations__", ()), term


def test_the_glossary_has_one_row_for_each_term() -> None:
    terms = [term.lower() for term, _, _ in glossary()]
    assert len(terms) >= 40
    assert len(set(terms)) == len(terms)
