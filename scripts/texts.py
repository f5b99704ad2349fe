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


def several(argv: Sequence[str], option: str) -> tuple[list[str], list[str]]:
    """A command line with the first value of an option alone, and all numbers that follow it there.

    >>> several(["static", "--risk-aversion", "1e-7", "1e-6", "--side", "buy"], "--risk-aversion")
    (['static', '--risk-aversion', '1e-7', '--side', 'buy'], ['1e-7', '1e-6'])
    """
    if option not in argv:
        return list(argv), []
    first = list(argv).index(option) + 1
    last = first
    while last < len(argv) and is_number(argv[last]):
        last += 1
    return [*argv[: first + 1], *argv[max(last, first + 1) :]], list(argv[first:last])


def is_number(text: str) -> bool:
    """Whether a text is a plain number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
