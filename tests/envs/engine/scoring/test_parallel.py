import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from envs.engine.scoring.parallel import even_batches, run_batches
from envs.engine.scoring.top1 import Top1Scorer

CPU = torch.device("cpu")
BATCHES = [slice(start, start + 10) for start in range(0, 95, 10)]


@pytest.fixture(params=[1, 2, 5, 16])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


class TakesNotes(nn.Module):
    """Keeps what it was called with in the module while it works, as many a network does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)
        self.noted: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        self.noted = inputs
        time.sleep(0.002)
        assert self.noted is not None
        return self.norm(self.linear(self.noted))


def test_scores_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    torch.manual_seed(0)
    model = TakesNotes().eval()
    images, labels = torch.randn(95, 4), torch.randint(3, (95,))
    answers = Top1Scorer(images, labels, batch_size=10).answers(model)
    with torch.inference_mode():
        scores = torch.cat([model(images[batch]) for batch in BATCHES])
    assert torch.equal(answers.correct, scores.argmax(1) == labels)
    losses = nn.functional.cross_entropy(scores, labels, reduction="none")
    assert torch.equal(answers.loss, losses.double())
    assert torch.get_num_threads() == threads


def test_every_batch_is_run_once_in_the_modes_of_the_caller(threads: int) -> None:
    model = nn.Linear(4, 4).eval()
    seen: list[tuple[slice, bool, torch.dtype, int]] = []
    weights, workers = set(), set()

    def work(network: nn.Module, batch: slice) -> None:
        output = network(torch.ones(1, 4))
        seen.append((batch, torch.is_inference_mode_enabled(), output.dtype, torch.get_num_threads()))
        weights.add(id(network.weight))
        workers.add(threading.get_ident())
        time.sleep(0.002)

    with torch.autocast("cpu", torch.bfloat16):
        run_batches(work, model, BATCHES, CPU)
    assert sorted(batch.start for batch, *_ in seen) == [batch.start for batch in BATCHES]
    assert {tuple(rest) for _, *rest in seen} == {(True, torch.bfloat16, 1)}
    assert weights == {id(model.weight)}
    assert len(workers) <= threads
    assert (len(workers) > 1) == (threads > 1)


def test_an_error_ends_the_work_and_comes_out(threads: int) -> None:
    done: list[int] = []

    def work(_: nn.Module, batch: slice) -> None:
        if batch.start == 0:
            raise ValueError("of the network")
        time.sleep(0.02)
        done.append(batch.start)

    with pytest.raises(ValueError, match="of the network"):
        run_batches(work, nn.Identity(), BATCHES, CPU)
    assert len(done) < len(BATCHES) - 1 or threads == 16
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [(1, 200, [1]), (100, 200, [100]), (101, 200, [50, 51]), (500, 200, [125] * 4), (1000, 200, [166, 167, 167] * 2)],
)
def test_batches_are_even_in_number_and_alike(count: int, most: int, sizes: list[int]) -> None:
    batches = even_batches(count, most)
    assert [batch.stop - batch.start for batch in batches] == sizes
    assert [sample for batch in batches for sample in range(count)[batch]] == list(range(count))
