"""The table of formats for people to read; ``python -m exec_env.data.format_table`` prints docs/formats.md."""

from exec_env.data.formats import FORMATS, UNREADABLE
from exec_env.data.vendor_format import Format

_ABOVE = """# Formats of vendors

Files that these vendors document are read as they are, by `exec-env calibrate` and by `--tape`: the line of names tells
the format, and one line says what was taken for what. Where there is no such line, or other files may have the same
names, `--format NAME` says it; where the zone of the times is not documented, or depends on the download, `--zone` says
it. Names are compared without case, in any order; a name that the vendor does not document makes it no file of the
format. Files of several instruments need `--symbol`.

Each row is tested with a small file of one known market, written as the vendor documents it: every number of it is
found again, and the estimates are the truth within their intervals.
"""
_BELOW = """
LOBSTER's messages and books are told by their file names, as `AAPL_2012-06-21_34200000_57600000_message_10.csv`.
Databento's binary files (DBN) are read as its text files are, by its own package: `pip install 'exec-env[databento]'`.
Packed files (gzip, bzip2, xz, zip, zstd) and binary ones are told by their first bytes, whatever they are called.

## Refused

Files that are known, but would give a plausible wrong number.
"""


def wanted(name: str) -> list[str]:
    """Options that files of a format need; none where they work as they are.

    >>> wanted("kraken-trades"), wanted("metatrader-bars"), wanted("tardis-trades")
    (['--format kraken-trades'], ['--zone'], [])
    """
    f = FORMATS[name]
    return [*([f"--format {name}"] if f.headless or not f.own else []), *(["--zone"] if f.zone is None else [])]


def shown() -> dict[str, Format]:
    """Formats that a file is of; those of its other rows are not told apart."""
    second = {f.also for f in FORMATS.values()}
    return {name: f for name, f in FORMATS.items() if name not in second}


def kind(f: Format) -> str:
    """What its files hold."""
    return f"{f.kind} and {FORMATS[f.also].kind}" if f.also else f.kind


def markdown() -> str:
    """The page."""
    lines = [_ABOVE, "| Format | Holds | Works | Cannot tell |", "|---|---|---|---|"]
    for name, f in shown().items():
        works = ", ".join(f"`{option}`" for option in wanted(name)) or "as it is"
        lines.append(f"| [{name}]({f.source}) | {kind(f)} | {works} | {f.cannot} |")
    lines += [_BELOW, "| Format | Why, and what to take instead |", "|---|---|"]
    lines += [f"| [{name}]({row.source}) | {row.why} |" for name, row in UNREADABLE.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
