"""What can go wrong in a way that a user can mend; everything else keeps its traceback.

Command lines print an ``ExecEnvError`` as one line. They catch nothing else, so that a mistake in the code, the user's
or ours, shows where it is.
"""

_LONGEST = 2000  # characters of a message
_CUT = " [...] "


class ExecEnvError(Exception):
    """The base of all errors that this package raises on purpose; a long message loses its middle."""

    def __init__(self, *args: object) -> None:
        super().__init__(*map(_short, args))


def _short(argument: object) -> object:
    if not isinstance(argument, str) or len(argument) <= _LONGEST:
        return argument
    return argument[: _LONGEST // 2] + _CUT + argument[len(_CUT) - _LONGEST // 2 :]


class InputError(ExecEnvError, ValueError):
    """An option, a file or an argument that cannot be; the sentence names it, its value and what is allowed."""


class UnknownOption(InputError, TypeError):
    """A keyword that nobody takes, in the words that Python itself uses."""


class NoBound(ExecEnvError, ValueError):
    """This problem has no bound or no optimum; the sentence says why."""


class Interrupted(ExecEnvError):
    """Work that was stopped before it ended; the sentence says how to go on with it."""
