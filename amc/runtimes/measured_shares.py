"""What fractions of the dense network's time others take, measured in turn with it in the runtime that counts."""

import logging
from collections.abc import Sequence
from functools import cached_property

from torch import Tensor, nn

from amc.runtimes.prepared import OnnxFiles
from amc.runtimes.profile import ONNX_RUNTIMES, Profile
from amc.runtimes.request import compact_pruner
from amc.runtimes.timed_runs import time_networks
from envs.engine.torch_engine import TorchEngine

log = logging.getLogger(__name__)
SECONDS = 8.0
"""For some networks beside the dense one; a run ends with two."""


class MeasuredShares:
    """Times networks as the end of a run does.

    Args:
        profile: the runtime, the images a pass and the threads.
        engine: of the dense network.
        example: an input, shape ``(1, ...)``.
        rounds: passes of each network, each time that it is loaded.
    """

    def __init__(self, profile: Profile, engine: TorchEngine, example: Tensor, rounds: int) -> None:
        self._profile, self._rounds = profile, rounds
        self._loads_files = profile.runtime in ONNX_RUNTIMES
        self._dense = self._as_run(engine, engine.model)
        self._example = example.cpu() if self._loads_files else example

    def of(self, engine: TorchEngine, counts: Sequence[Sequence[int]]) -> list[float]:
        """Return what fractions of the dense network's time others take, all of them timed in turn.

        Args:
            engine: of the network that they are cut from, the dense one or one that was cut from it.
            counts: units left in every group, for each.

        Raises:
            ModelError: one cannot be brought into the runtime.
        """
        pruner = compact_pruner(engine)
        others = {str(number): self._as_run(engine, pruner.cut(kept)) for number, kept in enumerate(counts)}
        _, *rows = time_networks(
            self._profile.runtime,
            {"dense": self._dense, **others},
            self._example,
            self._files if self._loads_files else None,
            batches=(self._profile.batch,),
            threads=self._profile.threads,
            rounds=self._rounds,
            seconds=SECONDS,
        )
        if not all(row.steady for row in rows):
            log.warning(
                "times scatter: the machine is busy or throttles, and what is found may miss its target on time"
            )
        return [1 / row.speedup for row in rows]

    @cached_property
    def _files(self) -> OnnxFiles:
        return OnnxFiles(self._dense, self._example)

    def _as_run(self, engine: TorchEngine, network: nn.Module) -> nn.Module:
        """Return a network as the runtime is given it: files hold norms folded, torch runs them."""
        return engine.pruner.for_inference(network) if self._loads_files else network
