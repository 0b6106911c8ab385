"""How every command begins, before anything that takes time or can be hidden by other packages is imported."""

import os
import sys
from collections.abc import Callable

import amc
from amc.cli.shadowing import describe_shadowing
from amc.errors import INTERRUPTED, ConfigError


def enter(command: str, run: Callable[[], None]) -> None:
    """Answer ``--version``, see that this distribution's packages are the ones that are found, and run a command.

    Args:
        command: its name in error messages.
        run: the command; what it needs is imported in there.

    Raises:
        SystemExit: ``--version`` is answered, another package hides one of ours, or a signal came while packages were
            imported.
    """
    if "--version" in sys.argv[1:]:
        print(f"amc-search {amc.__version__}")
        raise SystemExit(0)
    _find_own_code_of_the_user()
    if shadowing := describe_shadowing():
        print(f"amc.{command}: {shadowing}", file=sys.stderr)
        raise SystemExit(ConfigError.exit_code)
    try:
        run()
    except KeyboardInterrupt:
        print(f"amc.{command}: interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def _find_own_code_of_the_user() -> None:
    """Let ``model._target_=my_pkg.build_net`` be found in the working directory by a console script, too.

    ``python -m`` puts the working directory first on the path, where it hides what is installed; here it comes last.
    """
    folder = os.getcwd()  # noqa: PTH109  a string, as the path holds
    if not sys.flags.safe_path and folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)
