"""List environments, presets, agents with what they need, and formats of data.

Examples:
  exec-env list
  exec-env list agents
  exec-env list --json  for programs
"""

import ast
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from exec_env.base.extras import EXTRA_OF, is_installed
from exec_env.cli.main import run
from exec_env.cli.options import Flag, learners, parse
from exec_env.data import format_table
from exec_env.envs.registry import ENVIRONMENTS
from exec_env.harness.agents import known_agents
from exec_env.one_asset.presets import PRESETS

What = Literal["environments", "presets", "agents", "formats"]

_WHAT = tyro.conf.arg(metavar="[WHAT ...]", help_behavior_hint="")

FORMATS: dict[str, dict[str, Any]] = {
    "tape": {"file": "CSV, Parquet", "description": "slices to play, or any data below", "read_by": "--tape"},
    "market": {"file": "YAML", "description": "parameters of a market and their errors", "read_by": "--market"},
    "slices": {"file": "CSV, Parquet", "description": "time, mid, spread, volume ...", "read_by": "calibrate"},
    "trades": {"file": "CSV, Parquet", "description": "time, price, size; side if known", "read_by": "calibrate"},
    "quotes": {"file": "CSV, Parquet", "description": "time, bid, ask", "read_by": "calibrate"},
    "book": {"file": "CSV, Parquet", "description": "levels of an order book", "read_by": "calibrate, --tape"},
    "LOBSTER": {"file": "CSV", "description": "messages and the book after each", "read_by": "calibrate"},
    "dataset": {"file": "Minari folder", "description": "episodes, as collect records them", "read_by": "--dataset"},
}
"""Data that the command lines take, and where."""


def known_formats() -> dict[str, dict[str, Any]]:
    """Data that the command lines take, and formats of vendors: what they hold and which options they need."""
    vendors = {
        name: {
            "file": "CSV",
            "description": format_table.kind(f) + (f"; not {f.cannot}" if f.cannot else ""),
            "read_by": ", ".join(format_table.wanted(name)) or "as it is",
        }
        for name, f in format_table.shown().items()
    }
    return FORMATS | vendors


@dataclass(frozen=True)
class Options:
    """What is listed, and how."""

    what: tyro.conf.Positional[Annotated[tuple[What, ...], _WHAT]] = ()
    """environments, presets, agents or formats; by default all of it."""
    json: Flag = False
    """Print one JSON object."""


def agents() -> dict[str, dict[str, Any]]:
    """Every agent that has a name: what it is, the extra that it needs, and whether that is installed."""
    learn, found = learners(), {}
    for name, point in sorted(known_agents().items()):
        needs = list(point.extras)
        found[name] = {
            "kind": "learner" if name in learn else "baseline",
            "description": _first_line(point.module),
            "needs": needs,
            "installed": all(is_installed(extra) for extra in needs if extra in EXTRA_OF.values()),
        }
    return found


def _first_line(module: str) -> str:
    """What a module says of itself; it is read and not imported, because it may need what is not installed."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        return ""
    text = ast.get_docstring(ast.parse(Path(found.origin).read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ")


def listing(what: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Everything by kind and name."""
    every: dict[str, Any] = {
        "environments": lambda: {
            name: {"description": row.description, "problem": row.problem, "options": row.options}
            for name, row in ENVIRONMENTS.items()
        },
        "presets": lambda: {name: {"description": preset.description} for name, preset in PRESETS.items()},
        "agents": agents,
        "formats": known_formats,
    }
    return {kind: every[kind]() for kind in what}


def text(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The listing for people."""
    lines: list[str] = []
    for kind, rows in found.items():
        lines += [*([""] if lines else []), f"{kind}:"]
        width = max(map(len, rows))
        for name, row in rows.items():
            said = row["description"].rstrip(".")
            if kind == "agents" and row["needs"]:
                extras = ",".join(row["needs"])
                said += f" [{extras}]" if row["installed"] else f"; not installed: pip install 'exec-env[{extras}]'"
            if kind == "formats":
                said += f" ({row['file']}; {row['read_by']})"
            lines.append(f"  {name:{width}}  {said}")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Print what there is."""
    options = parse("list", Options, argv, __doc__, names=False)
    found = listing(options.what or get_args(What))
    print(json.dumps(found, indent=2, ensure_ascii=False) if options.json else text(found))


if __name__ == "__main__":
    run(main)
