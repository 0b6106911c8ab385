"""What a second worker is worth on this machine, in wall seconds.

    taskset -c 0,1 python benchmarks/workers.py local
    taskset -c 0,1 python benchmarks/workers.py ray --repeats 3

Random strategies of an untrained ResNet-20 at half of its FLOPs are scored on 1,000 made-up images, by one worker and
by two with a torch thread each, all of them ready beforehand. The machine has to be quiet; the share is the median of
those of every repetition, in each of which one and two take turns.
"""

import argparse
import time
from collections.abc import Sequence
from statistics import median

import torch
from setting import print_json

from amc.run.working import at_work
from amc.zoo.models.resnet import CifarResNet
from baselines.random_search import RandomSearch
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials
from envs.workers.settings import WorkersSettings

IMAGES, SIDE, CLASSES = 1000, 32, 10


def make_engine() -> TorchEngine:
    """Return the engine, the same every time."""
    torch.manual_seed(0)
    network = CifarResNet(CLASSES, 3, depth=20).eval()
    images, labels = torch.randn(IMAGES, 3, SIDE, SIDE), torch.randint(CLASSES, (IMAGES,))
    settings = EngineSettings(precision="fp32")
    return TorchEngine(network, images[:1], images[:200], Top1Scorer(images, labels), settings)


def seconds_of(kind: str, workers: int, episodes: int) -> float:
    """Return how long a search takes once all workers are ready."""
    problem = PruningEnv(make_engine(), target=0.5)
    with at_work(WorkersSettings(kind, workers), problem) as working:
        layers = len(problem.engine.layers)
        ready = [(0.9 - 0.01 * number,) * layers for number in range(2 * workers)]
        working.score_many(ready)
        env = RecordTrials(working, episodes)
        begun = time.perf_counter()
        RandomSearch(seed=7).search(env)
        return time.perf_counter() - begun


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["local", "ray"])
    parser.add_argument("--episodes", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    pairs = [tuple(seconds_of(args.kind, workers, args.episodes) for workers in (1, 2)) for _ in range(args.repeats)]
    shares = [two / one for one, two in pairs]
    print_json({
        "kind": args.kind,
        "seconds": [[round(each, 2) for each in pair] for pair in pairs],
        "shares": [round(share, 3) for share in shares],
        "share": round(median(shares), 3),
    })  # fmt: skip


if __name__ == "__main__":
    main()
