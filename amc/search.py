"""``python -m amc.search``: searches keep ratios, fine-tunes the best networks, measures and reports the winner."""

from amc.command import chosen, end_sweep, output_folder, run_command
from amc.config import SearchConfig


def main(cfg: SearchConfig) -> None:
    """Run the search that the command line asks for."""
    # Imported late: a typo on the command line is answered before torch is there.
    from amc.pipeline import run_search

    if not run_search(cfg, chosen("policy"), output_folder()):
        end_sweep()


if __name__ == "__main__":
    run_command("search", main)
