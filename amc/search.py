"""``python -m amc.search``: searches keep ratios, fine-tunes the best networks, measures and reports the winner."""

from amc.cli.command import chosen, end_sweep, output_folder, run_command
from amc.config.schema import SearchConfig
from amc.store.lock import alone


def main(cfg: SearchConfig) -> None:
    """Run the search that the command line asks for."""
    # Imported late: a typo on the command line is answered before torch is there.
    from amc.run.pipeline import run_search

    folder = output_folder()
    # Jobs side by side may name the same folder: the second then finds the run of the first, and knows what to do.
    with alone(folder / ".lock", f"search in {folder}"):
        played_to_end = run_search(cfg, chosen("policy"), folder)
    if not played_to_end:
        end_sweep()


if __name__ == "__main__":
    run_command("search", main)
