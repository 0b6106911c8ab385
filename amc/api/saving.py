"""What one Python call found as a run folder, which the comparison and the report read as any other."""

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

import amc
from amc.api.request import Network, PruneRequest
from amc.measurement.latency import Latency, measure_latency
from amc.store.digests import write_checksums
from amc.store.results import SCHEMA, PrunedScores, Result, RunFolder, Scores
from amc.weights.export import WEIGHTS_FILE, weights_bytes
from amc.weights.metadata import Header
from envs.engine.network.calls import Inputs, flatten_outputs, forward
from envs.engine.surgery.masking import without_masks
from envs.engine.types import NetworkLayer
from envs.search import Trial

DATA = "given"
"""What stands for the name of the data."""


class Found(Protocol):
    """What is saved: what a call found, with the meanings of ``amc.api.result.PruneResult``."""

    @property
    def model(self) -> nn.Module:
        """The smaller network."""

    @property
    def best(self) -> Trial:
        """The trial it comes from."""

    @property
    def trials(self) -> list[Trial]:
        """All trials, in order."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the inputs that the network was traced with."""

    @property
    def dense(self) -> Network:
        """The network given."""

    @property
    def uniform(self) -> Network:
        """One ratio for all layers that meets the same target."""

    @property
    def found(self) -> Network:
        """The smaller network, and what it scores."""

    @property
    def request(self) -> PruneRequest:
        """What was asked."""

    @property
    def teacher(self) -> nn.Module:
        """A copy of the network given."""

    @property
    def network(self) -> tuple[NetworkLayer, ...]:
        """Every layer of the network given."""

    @property
    def small_uniform(self) -> nn.Module:
        """The network that uniform ratios make."""

    @property
    def example(self) -> Inputs:
        """What the network was traced with."""

    def report(self, path: Path) -> object:
        """Write the report to a file."""


class _Called(nn.Module):
    """A network that is called with the example input, whatever that is."""

    def __init__(self, network: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self.network, self._inputs = network, inputs
        self.eval()

    def forward(self, _: Tensor) -> object:
        """Run it."""
        return forward(self.network, self._inputs)


def save_run(found: Found, folder: Path) -> Path:
    """Write trials, weights, result and report to a folder, and return it.

    Raises:
        StorageError: the folder cannot be written.
    """
    run = RunFolder(folder)
    run.ask(asked(found.request) | {"policy": found.request.policy, "seed": found.request.seed})
    for trial in found.trials:
        run.record(trial)
    run.write(WEIGHTS_FILE, weights_bytes(found.model, Header(found.input_shape)))
    small = without_masks(found.model)
    networks = {"dense": found.teacher, "uniform": without_masks(found.small_uniform)}
    called = {name: _Called(network, found.example) for name, network in (networks | {"found": small}).items()}
    latencies = measure_latency(called, flatten_outputs(found.example)[0])
    run.write_result(as_result(found, tuple(latencies)))
    found.report(run.folder / "report.html")
    write_checksums(run.folder)
    return run.folder


def as_result(found: Found, latencies: tuple[Latency, ...]) -> Result:
    """Return what a call found as the record of a run.

    There is no test split: all figures are of the data that trials were scored on, and ``images`` says so. Uniform
    ratios were not fine-tuned.

    Args:
        found: what was found.
        latencies: of the dense, the uniform and the found network.
    """
    request, untuned = found.request, found.found._replace(evaluation=found.best.evaluation)
    dense, uniform, small = (latency.median_ms for latency in latencies)
    return Result(
        schema=SCHEMA,
        model=request.name,
        data=DATA,
        policy=request.policy,
        granularity=request.granularity,
        criterion=request.criterion,
        resource=request.resource,
        target=request.target,
        seed=request.seed,
        trials=len(found.trials),
        search_seconds=sum(trial.seconds for trial in found.trials),
        dense=Scores(found.dense.evaluation.metric, latency_ms=dense, **_size(found.dense)),
        uniform=_pruned(found.uniform, found.uniform, uniform),
        pruned=_pruned(found.found, untuned, small),
        strategy=found.found.layers,
        uniform_strategy=found.uniform.layers,
        finetuned=(),
        versions={"amc-search": amc.__version__, "torch": torch.__version__},
        images={"search": found.dense.evaluation.n_samples},
        latencies=latencies,
        settings=asked(request),
        network=found.network,
    )


def asked(request: PruneRequest) -> dict[str, str | int | float | bool | None]:
    """Return what was asked, as a run writes it down; the metric by its name."""
    limits = {f"limits.{name}": share for name, share in request.limits.items()}
    said = {key: value for key, value in vars(request).items() if key not in ("name", "policy", "seed", "limits")}
    return said | limits


def _pruned(network: Network, before: Network, latency_ms: float) -> PrunedScores:
    return PrunedScores(
        search_top1=network.evaluation.metric,
        test_top1_before_finetune=before.evaluation.metric,
        test_top1=network.evaluation.metric,
        latency_ms=latency_ms,
        **_size(network),
    )


def _size(network: Network) -> dict[str, int]:
    cost = network.cost
    return {"flops": round(cost.flops), "params": round(cost.params), "memory_bytes": round(cost.memory or 0)}
