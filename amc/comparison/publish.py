"""A comparison from folder to files."""

import os
from pathlib import Path

from rich import get_console

from amc.comparison.figures import comparison_figures
from amc.comparison.page import render
from amc.comparison.study import Problem, read_study
from amc.comparison.text import markdown_page, print_study
from amc.errors import ConfigError
from amc.report.plots import png
from amc.store.durable_files import remove_partial_files, write_file
from amc.store.optuna_journal import export_studies
from amc.tracking.hparams import write_hparams

PAGE, MARKDOWN = "compare.html", "compare.md"
NAMED = 3


def compare(folder: Path, output: Path, optuna: Path | None = None, tensorboard: Path | None = None) -> None:
    """Print the comparison of a folder's runs, and write it as Markdown, pictures and a page.

    Args:
        folder: holds run folders, at any depth.
        output: where the files go.
        optuna: where the trials of all runs go as Optuna studies, if anywhere.
        tensorboard: where one table of all runs goes for TensorBoard's HParams, if anywhere.

    Raises:
        ConfigError: no run in it is finished.
        StorageError: a folder cannot be read or written.
    """
    study = read_study(folder)
    if not study.problems:
        raise ConfigError(f"{folder}: nothing to compare, {_why_none([left.name for left in study.left_out])}")
    remove_partial_files(output, "compare*", alone=False)
    pictures = [_pictures(number, problem, output) for number, problem in enumerate(study.problems, 1)]
    write_file(output / MARKDOWN, markdown_page(study, pictures))
    page = write_file(output / PAGE, render(study))
    if optuna is not None:
        export_studies(optuna, [folder / run.name for problem in study.problems for run in problem.runs])
    if tensorboard is not None:
        runs = [run for problem in study.problems for run in problem.runs]
        write_hparams(tensorboard, [(run.name, run.result) for run in runs])
    print_study(study, get_console())
    # Not wrapped as other lines are, so that the path can be copied.
    get_console().print(f"\ncomparison: {os.path.relpath(page)}", soft_wrap=True, highlight=False, markup=False)


def _pictures(number: int, problem: Problem, output: Path) -> dict[str, str]:
    """Write a problem's pictures and return their file names by picture."""
    names = {}
    for name, figure in comparison_figures(problem).items():
        names[name] = write_file(output / f"compare-{number}-{name}.png", png(figure)).name
    return names


def _why_none(left_out: list[str]) -> str:
    if not left_out:
        return "it holds no run"
    more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
    return f"its runs are unfinished or damaged: {', '.join(left_out[:NAMED])}{more}"
