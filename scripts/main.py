"""The command ``exec-env``: it finds the command line that was named and runs it; the others are not imported."""

import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from exec_env.base.errors import ExecEnvError, InputError
from exec_env.base.extras import importing
from exec_env.base.release import VERSION
from exec_env.base.validation import unknown

COMMANDS = {
    "train": "train an agent; everything is kept in a run folder",
    "evaluate": "agents on the same market paths: table, CSV files, pictures",
    "stress": "agents in every stress regime: tables and a heat map",
    "report": "one HTML page: results, costs, learning, behaviour, episodes",
    "estimate": "what an order will cost, before it is traded",
    "schedule": "a schedule and its place on the efficient frontier",
    "live": "child orders from live snapshots, line by line",
    "tca": "what a real order cost, and of what: fills against the tape",
    "export": "a run's agent as a model of Stable-Baselines3",
    "tune": "search for hyper-parameters",
    "results": "every agent of an experiment over seeds, summed up",
    "calibrate": "your trades, quotes or books as a market",
    "collect": "episodes as a dataset for offline learning",
    "offline": "the study of offline learning",
    "benchmark": "speed, beside Gymnasium's CartPole",
    "list": "environments, presets, agents, formats",
}
"""Name and what it does, in the order of the help text; the module has the same name."""

HELP = f"""usage: exec-env COMMAND [OPTIONS]

Optimal trade execution: train agents, compare them with classical schedules, see how far both are from the best.

{chr(10).join(f"  {name:10} {text}" for name, text in COMMANDS.items())}

Begin with:
  exec-env evaluate twap almgren-chriss adaptive    three classical schedules beside the lower bound
  exec-env list                                     what there is, and what is installed
  exec-env COMMAND --help                           options and examples of a command
"""


_OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)
"""What the system says of a disk that is full, read only or broken: pictures and logs are written by libraries."""


def main() -> None:
    """What the command ``exec-env`` and ``python -m exec_env`` do."""
    first, rest = (sys.argv[1:2] or ["--help"])[0], sys.argv[2:]
    if first in ("-h", "--help", "help"):
        print(HELP, end="")
    elif first in ("-V", "--version"):
        print(f"exec-env {VERSION}")
    else:
        run(lambda argv: _command(first)(argv), rest)


def _command(name: str) -> Callable[[Sequence[str]], None]:
    """The function behind a command.

    Raises:
        InputError: for one that does not exist, with the nearest that does.
        MissingPackage: for one that needs an extra which is not installed.
    """
    if name not in COMMANDS:
        raise InputError(unknown("command", name, COMMANDS))
    with importing(f"exec-env {name}"):
        found: Callable[[Sequence[str]], None] = import_module(f"exec_env.cli.{name}").main
    return found


def run(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> None:
    """Run a command line: what the user can mend is one line on stderr and exit status 2, not a traceback.

    Args:
        main: what it does with its arguments.
        argv: the arguments; by default those of the process.
    """
    sys.path.append(os.getcwd())  # for agents of the user's own, named as module:Class
    try:
        main(sys.argv[1:] if argv is None else argv)
    except ExecEnvError as error:
        if os.environ.get("EXEC_ENV_TRACEBACK"):  # for those who look for a mistake of ours
            raise
        print(f"error: {as_typed(str(error))}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.errno not in _OF_A_DISK:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def as_typed(message: str) -> str:
    """A message of the Python API with the options of a tape as the command lines call them.

    >>> as_typed("tape_purge = -1: must be a whole number >= 0; there is no tape_split")
    '--purge = -1: must be a whole number >= 0; there is no --split'
    """
    return re.sub(r"\btape_(columns|stamp|split|part|purge)\b", r"--\1", message)


if __name__ == "__main__":
    main()
