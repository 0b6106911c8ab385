"""What bfloat16 changes of a candidate's accuracy, as it is and with close calls asked about again in float32.

    python benchmarks/precision.py model=mobilenet data=fashion_mnist train.epochs=0.5

Random strategies within each target; times are CPU seconds of both ways in turn.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from setting import Clock, clocked, make_setting, print_json

from envs.constraint import ResourceBudget
from envs.coreset_scoring import pilot_strategies
from envs.engine.scoring.precision import running_in
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine

CPU = torch.device("cpu")
MIN_KEEP = 0.1


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=float, nargs="+", default=[0.5, 0.2], help="of the FLOPs")
    parser.add_argument("--strategies", type=int, default=12, help="random ones a target")
    parser.add_argument("--seed", type=int, default=0, help="of the strategies")
    parser.add_argument("keys", nargs="*", help="keys of amc.search")
    args = parser.parse_args(arguments)
    setting = make_setting(*args.keys)
    torch.set_num_threads(1)
    scorer = Top1Scorer(setting.search, setting.labels)
    engine = TorchEngine(setting.model, setting.calibration[:1], setting.calibration, scorer, EngineSettings())
    table = Table("target", "bfloat16: at most", "mean", "close calls settled: at most", "mean", "takes")
    figures = {}
    for target in args.targets:
        plain, settled, rows = Clock([], []), Clock([], []), []
        budget = ResourceBudget(engine, "flops", target, MIN_KEEP)
        for strategy in pilot_strategies(budget, args.strategies, args.seed):
            network = engine.pruner.for_inference(engine.prune(strategy))
            exact = scorer(network).metric
            with running_in("bf16", CPU):
                rough = clocked(plain, lambda candidate=network: scorer.answers(scorer.ready(candidate)))
                found = clocked(settled, lambda candidate=network: scorer(candidate))
            rows.append((float(rough.correct.double().mean()) - exact, found.metric - exact))
        off = np.abs(np.array(rows))
        times = settled.median() / plain.median()
        most, mean = off.max(0), off.mean(0)
        table.add_row(str(target), *(f"{x:.2%}" for x in (most[0], mean[0], most[1], mean[1])), f"{times:.2f}x")
        figures[str(target)] = {"plain": round(float(most[0]), 5), "settled": round(float(most[1]), 5)}
        figures[str(target)]["times"] = round(times, 3)
    Console().print(table)
    print_json({"targets": figures, "strategies": args.strategies, "images": len(scorer)})


if __name__ == "__main__":
    main()
