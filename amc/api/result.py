"""What one Python call found, and what can be done with it."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from torch import nn
from torch.nn.functional import cross_entropy

from amc.api.finetuning import Objective, beside, fit_batches
from amc.api.notebook import Tables, image
from amc.api.request import Network, PruneRequest
from amc.api.scoring import Output
from amc.progress import TrainingProgress
from amc.report.layer_table import LayerLine, layer_lines, layers_table
from amc.report.tables import COUNT, SIZE, TOP1, Cell, Quantity, Row, make_row, rows_table
from amc.seeding import seed_everything
from amc.store.durable_files import write_file
from envs.engine.choices import UNITS
from envs.engine.network.calls import Inputs
from envs.engine.network.isolation import random_state_kept
from envs.engine.network.samples import Loss
from envs.engine.scoring.top1 import Score
from envs.engine.types import NetworkLayer
from envs.search import Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from amc.report.figure_style import Palette

SCORE = Quantity(lambda value: f"{value:.4g}", lambda value, dense: f"{value - dense:+.4g}")
NETWORKS = ("dense", "uniform", "found")
PICTURES = ("reward", "channels", "network")


@dataclass(frozen=True)
class PruneResult:
    """What a search found.

    Attributes:
        model: the smaller network in eval mode, repaired; fine-tuned only in the result of :meth:`finetune`. What
            is finer than a channel is masked: exact zeros, which stay zero when the network is trained on.
        strategy: executed keep ratio by layer.
        best: the trial it comes from.
        trials: all trials, in order.
        input_shape: shape of the inputs that the network was traced with; empty unless that is one tensor of floats.
        dense: the network given.
        uniform: one ratio for all layers that meets the same target; it took one more evaluation.
        found: the smaller network.
        request: what was asked.
        score: what trials were scored by.
        teacher: a copy of the network given, in eval mode: what fine-tuning learns from.
        network: every layer of the network given, searched or kept whole, see ``layers()``.
        output: what was given to pick outputs.
        small_uniform: the network that uniform ratios make, to be timed beside the others.
        example: what the network was traced with.
    """

    model: nn.Module = field(repr=False)
    strategy: dict[str, float]
    best: Trial
    trials: list[Trial] = field(repr=False)
    input_shape: tuple[int, ...]
    dense: Network = field(repr=False)
    uniform: Network = field(repr=False)
    found: Network = field(repr=False)
    request: PruneRequest
    score: Score = field(repr=False)
    teacher: nn.Module = field(repr=False)
    network: tuple[NetworkLayer, ...] = field(repr=False)
    small_uniform: nn.Module = field(repr=False)
    example: Inputs = field(repr=False)
    output: Output | None = field(default=None, repr=False)

    def table(self) -> Tables:
        """Return the figures of the networks, and every layer, for rich or a notebook to show."""
        return Tables((rows_table(self._title, NETWORKS, self._rows()), self.layers()))

    def layers(self) -> Table:
        """Return every layer for rich or a notebook to show: what it keeps, what it is tied to, why it is whole."""
        return layers_table(self._layer_lines())

    def plot(self, picture: str = "reward", palette: "Palette | None" = None) -> "Figure":
        """Draw ``reward`` of every trial, ``channels``, the share kept by step, or ``network``, every layer's width.

        Args:
            picture: which of them.
            palette: its colours; those for light paper if not given.

        Raises:
            ValueError: there is no such picture.
        """
        if picture not in PICTURES:
            raise ValueError(f"picture={picture!r}: must be one of {', '.join(PICTURES)}")
        # Imported late: who only searches does not wait for matplotlib.
        from amc.report.figure_style import LIGHT
        from amc.report.network_figure import network_figure
        from amc.report.plots import channels_figure, reward_figure

        colours, units = palette or LIGHT, self._units
        if picture == "network":
            return network_figure(self.network, self.found.layers, colours, units)
        if picture == "reward":
            return reward_figure(self.trials, colours)
        return channels_figure(self.found.layers, self.uniform.layers, colours, units)

    def report(self, path: str | Path) -> Path:
        """Write everything into one HTML file that needs no network, and return its path.

        Raises:
            StorageError: the file cannot be written.
        """
        from amc.api.report import render_prune

        pictures = {name: lambda palette, name=name: self.plot(name, palette) for name in PICTURES}
        page = render_prune(
            self._title, NETWORKS, self._rows(), pictures, self._layer_lines(), self._facts(), self._units
        )
        return write_file(Path(path), page)

    def trials_dataframe(self) -> "DataFrame":
        """Return the trials as a table of pandas, a row each; see ``amc.api.trials_frame``."""
        from amc.api.trials_frame import trials_frame

        return trials_frame(self.trials, [row.layer for row in self.found.layers])

    def save(self, folder: str | Path) -> Path:
        """Write trials, weights, result and report to a folder, as a run leaves them, and return it.

        ``amc.load(folder, model=dense)`` brings the network back, ``python -m amc.compare`` compares such folders.
        The three networks are timed on the example input.

        Raises:
            StorageError: the folder cannot be written.
        """
        from amc.api.saving import save_run

        return save_run(self, Path(folder))

    def finetune(
        self,
        batches: Iterable[Any],
        *,
        epochs: int = 10,
        lr: float = 0.01,
        loss: Loss = cross_entropy,
        distill: float | None = None,
        temperature: float = 2.0,
        class_dim: int | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> "PruneResult":
        """Train a copy of the smaller network, by SGD on a cosine, and return the result with it; zeros stay zero.

        Args:
            batches: (inputs, targets) batches of training data: a list or data loader, gone through once an epoch;
                or inputs alone (tensors, dicts of arguments, ``(inputs,)``) to learn from the dense network alone.
            epochs: how often.
            lr: the highest learning rate; about a tenth of what the network was trained with.
            loss: ``(outputs, targets) -> mean loss``.
            distill: how much is learnt from the dense network, from 0 to 1: the weight of the KL divergence from its
                softened logits; by default 0.5, but 0 beside a ``loss`` of one's own.
            temperature: what logits are divided by to soften them.
            class_dim: the dimension of the classes; 1 for ``cross_entropy``, to be given for what else has more than
                two dimensions.
            seed: of dropout and of a loader that shuffles.
            progress: show a bar.

        Raises:
            ValueError: an argument is out of range, batches or outputs are not what they should be, or the loss is
                not finite.
        """
        tuned = copy.deepcopy(self.model)
        objective = Objective(beside(self.teacher, tuned), loss, distill, temperature, class_dim, self.output)
        with random_state_kept(), TrainingProgress("fine-tune") as bar:
            seed_everything(seed)
            fit_batches(tuned, batches, epochs, lr, objective, bar if progress else None, self.example)
            evaluation = self.score(tuned)
        return replace(self, model=tuned, found=self.found._replace(evaluation=evaluation))

    def _repr_mimebundle_(self, include: Any = (), exclude: Any = (), **_: object) -> Mapping[str, str]:  # noqa: ANN401
        """Return what a notebook shows: the tables, and the picture of the network below."""
        from amc.report.plots import png

        shown = dict(self.table()._repr_mimebundle_(include, exclude))
        if "text/html" in shown:
            shown["text/html"] += image(png(self.plot("network")), "the network, layer by layer")
        return shown

    @property
    def _units(self) -> str:
        return UNITS.get(self.request.granularity, "units")

    @property
    def _title(self) -> str:
        asked = self.request
        return f"{asked.name} at {_shares(asked, 'its')}"

    def _rows(self) -> list[Row]:
        """Return the comparison; what was not measured is left out."""
        networks = (self.dense, self.uniform, self.found)
        rows = self._metric_rows()
        rows.append(make_row("FLOPs", [network.cost.flops for network in networks], COUNT))
        rows.append(make_row("parameters", [network.cost.params for network in networks], COUNT))
        memory = [network.cost.memory for network in networks if network.cost.memory is not None]
        return [*rows, make_row("memory", memory, SIZE)] if len(memory) == len(networks) else rows

    def _metric_rows(self) -> list[Row]:
        """Return how good the networks are; uniform ratios, never fine-tuned, stand beside what was not either."""
        metric = self.request.metric
        quantity = SCORE if metric == "score" else TOP1
        dense, uniform, untuned, found = (
            evaluation.metric
            for evaluation in (
                self.dense.evaluation,
                self.uniform.evaluation,
                self.best.evaluation,
                self.found.evaluation,
            )
        )
        if self.found.evaluation is self.best.evaluation:
            return [make_row(metric, [dense, uniform, found], quantity)]
        whole, tuned = make_row(metric, [dense, found], quantity).cells
        before = make_row("before fine-tuning", [dense, uniform, untuned], quantity)
        return [Row(metric, (whole, Cell("-"), tuned)), before._replace(cells=(Cell("-"), *before.cells[1:]))]

    def _layer_lines(self) -> list[LayerLine]:
        return layer_lines(self.network, self.found.layers, self.uniform.layers)

    def _facts(self) -> list[tuple[str, str]]:
        asked = self.request
        feasible = sum(trial.feasible for trial in self.trials)
        return [
            ("policy", f"{asked.policy}, seed {asked.seed}"),
            ("granularity", f"{asked.granularity}, ranked by {asked.criterion}"),
            ("target", _shares(asked, "the dense network's")),
            ("trials", f"{len(self.trials)}, of which {feasible} within the target"),
            ("best", f"trial {self.best.index + 1}, reward {self.best.reward:.4f}"),
            ("search", f"{sum(trial.seconds for trial in self.trials):.1f} s"),
        ]


def _shares(asked: PruneRequest, whose: str) -> str:
    return " and ".join(f"{share:g} of {whose} {name}" for name, share in asked.targets.items())
