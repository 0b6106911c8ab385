"""``amc-search``, ``python -m amc.search``: searches keep ratios, fine-tunes, measures and reports the winner."""

import sys
from typing import TYPE_CHECKING

from amc.cli.entry import enter

if TYPE_CHECKING:
    from amc.config.schema import SearchConfig


def main(cfg: "SearchConfig") -> None:
    """Run the search that the command line asks for."""
    # Imported late: a typo on the command line is answered before torch is there.
    from amc.cli.command import chosen, command_of, end_sweep, output_folder
    from amc.config.overrides import policy_name
    from amc.run.pipeline import run_search
    from amc.store.lock import alone

    folder = output_folder()
    # Jobs side by side may name the same folder: the second then finds the run of the first, and knows what to do.
    with alone(folder / ".lock", f"search in {folder}"):
        name = policy_name(chosen("policy"), cfg.policy.get("_target_"))
        played_to_end = run_search(cfg, name, folder, command_of("search"))
    if not played_to_end:
        end_sweep()


def run() -> None:
    """Compose the configuration and search; a job after the other where the command line is a sweep."""
    if sys.argv[1:2] == ["new"]:
        from amc.cli.new import main as ask
        from amc.cli.plain_command import run_plain_command

        del sys.argv[1]
        run_plain_command("search", ask)
        return
    from amc.cli.command import run_command

    run_command("search", main)


def script() -> None:
    """Run the command line: what the console script ``amc-search`` calls."""
    enter("search", run)


if __name__ == "__main__":
    script()
