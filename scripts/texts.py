"""Values on a command line that are texts with a unit: 250k, 5min, 1.8%; the parser of options knows numbers alone."""

from collections.abc import Sequence

from exec_env.one_asset.quantities import KINDS


def with_units(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """A command line without its texts with units, and these by the name of their field; the last of one name counts.

    >>> with_units(["twap", "--shares", "250k", "--slice-length=5min", "--n-steps", "24", "--volatility", "0.02"])
    (['twap', '--n-steps', '24', '--volatility', '0.02'], {'shares': '250k', 'slice_length': '5min'})
    """
    left: list[str] = []
    found: dict[str, str] = {}
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        field = name.lstrip("-").replace("-", "_")
        if not name.startswith("--") or field not in KINDS or not (equals or rest):
            left.append(argument)
            continue
        value = value if equals else rest[0]
        if value.startswith("--") or is_number(value) or value in ("None", ""):
            left.append(argument)
            found.pop(field, None)
            continue
        found[field] = value if equals else rest.pop(0)
    return left, found


def is_number(text: str) -> bool:
    """Whether a text is a plain number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
