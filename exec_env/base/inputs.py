"""Files that work is made from, by name and checksum, so that nobody goes on with others under the same name."""

from collections.abc import Mapping
from typing import Any

from exec_env.base.errors import InputError

_SHOWN = 12  # digits of a checksum

Inputs = Mapping[str, Mapping[str, str]]
"""What they are -> ``file`` and ``sha256``."""


def named(inputs: Inputs, options: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The same, called as the options call them that they are from."""
    files = {what: str(options[what]) for what in inputs if isinstance(options.get(what), str)}
    return {what: {**given, "file": files.get(what, given["file"])} for what, given in inputs.items()}


def refuse_changed(was: Any, now: Inputs, since: str, way_out: str) -> None:
    """Refuse to go on where a file is another one than it was.

    Args:
        was: what was kept; what it does not name is not compared.
        now: the same of today.
        since: when it was kept, in words.
        way_out: what to do.

    Raises:
        InputError: naming the file, both checksums and the way out.
    """
    for what, then in (was if isinstance(was, Mapping) else {}).items():
        before = then.get("sha256") if isinstance(then, Mapping) else None
        today = now.get(what, {"file": str(then), "sha256": "none"})
        if isinstance(before, str) and before != today["sha256"]:
            raise InputError(
                f"{what} {today['file']}: has changed since {since}: "
                f"sha256 {before[:_SHOWN]} then, {today['sha256'][:_SHOWN]} now; {way_out}"
            )
