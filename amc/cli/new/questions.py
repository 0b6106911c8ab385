"""``amc-search new``: asks for a search, question by question, writes it into a file and prints the command."""

from collections.abc import Sequence
from operator import attrgetter

import rich
from rich.markup import escape
from rich.prompt import Prompt

from amc.cli.new.answers import CHOSEN, Answers, composed, names_of, with_answer, write
from amc.cli.plain_command import Parser
from amc.errors import ConfigError

QUESTIONS = {
    "name": "Name of the search",
    "model": "Network",
    "model.name": "Its name there",
    "model.checkpoint": "File of its trained weights, or none to train it",
    "data": "Data",
    "data.folder": "Folder of train/<class>/*.jpg and test/<class>/*.jpg",
    "data.image_size": "Height and width of images in pixels",
    "policy": "Who searches; several, with commas, to compare them",
    "resource": "What is limited: flops, params, memory, latency or memory_peak",
    "target": "Fraction of it that may be kept",
    "episodes": "Strategies to try",
    "finetune.epochs": "Epochs of fine-tuning",
    "seed": "Seed; several, with commas, to compare over them",
    "export": "Formats beside safetensors, as [onnx] or [onnx,pt2]",
}
DEFAULTS = {"name": "first", "model": "mobilenet", "model.name": "resnet18", "data": "digits", "policy": "amc"}


def main(arguments: Sequence[str]) -> None:
    """Ask, write and tell.

    Raises:
        ConfigError: there are arguments, or the answers end before the questions.
    """
    Parser("search new", "Asks for a search, writes it into a file, and prints its command.").parse_args(arguments)
    answers: Answers = {}
    for key in QUESTIONS:
        answers = _ask(key, answers) if _is_asked(key, answers) else answers
    print("\n{} holds the search. It runs with\n\n{}".format(*write(answers)))


def _is_asked(key: str, answers: Answers) -> bool:
    photos, library = answers.get("data") == "image_folder", answers.get("model") in ("timm", "torchvision")
    needed = {"model.checkpoint": "model._target_" in answers, "model.name": library}
    return needed.get(key, photos or not key.startswith("data."))


def _ask(key: str, answers: Answers) -> Answers:
    """Return the answers with one more, which is asked for until a search would take it."""
    if key in CHOSEN:
        rich.print(f"[dim]{', '.join(names_of(key))}, or your own: my_package.my_{key}[/dim]")
    value = DEFAULTS.get(key) or attrgetter(key)(composed(answers))
    default = f"{value:g}" if isinstance(value, float) else str(value).lower()
    while True:
        try:
            answer = Prompt.ask(escape(QUESTIONS[key]), default=default)
            return answers if (key, answer) == ("model.checkpoint", "none") else with_answer(answers, key, answer)
        except EOFError as error:
            raise ConfigError(f"no answer to {QUESTIONS[key]!r}; nothing is written") from error
        except (ConfigError, ValueError) as error:
            rich.print(f"[red]{escape(str(error))}[/red]")
