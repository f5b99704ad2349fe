"""``python -m exec_env``: the same as the command ``exec-env``."""

from exec_env.cli.main import main

if __name__ == "__main__":
    main()
