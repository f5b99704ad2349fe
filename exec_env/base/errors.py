"""What can go wrong in a way that a user can mend; everything else keeps its traceback.

Command lines print an ``ExecEnvError`` as one line. They catch nothing else, so that a mistake in the code, the user's
or ours, shows where it is.
"""


class ExecEnvError(Exception):
    """The base of all errors that this package raises on purpose."""


class InputError(ExecEnvError, ValueError):
    """An option, a file or an argument that cannot be; the sentence names it, its value and what is allowed."""


class UnknownOption(InputError, TypeError):
    """A keyword that nobody takes, in the words that Python itself uses."""


class NoBound(ExecEnvError, ValueError):
    """This problem has no bound or no optimum; the sentence says why."""


class Interrupted(ExecEnvError):
    """Work that was stopped before it ended; the sentence says how to go on with it."""
