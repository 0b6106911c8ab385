"""What the agent itself takes: CPU milliseconds of an episode on a problem whose scoring takes no time.

python benchmarks/agent.py
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from setting import print_json

from amc.config.policies import make_policy
from envs.engine.analytic import AnalyticEngine
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, Trial


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="amc", help="amc plans; amc_paper, td3 and sac have networks that act")
    parser.add_argument("--episodes", type=int, default=150)
    args = parser.parse_args(arguments)
    ends: list[float] = [time.process_time()]

    def note(_: Trial) -> None:
        ends.append(time.process_time())

    env = RecordTrials(PruningEnv(AnalyticEngine()), args.episodes, [note])
    policy: Any = make_policy(args.policy, seed=0)
    policy.search(env)
    milliseconds = [1000 * (after - before) for before, after in pairwise(ends)]
    warm_up = round(policy.warm_up * args.episodes)
    exploring, learning = (
        milliseconds[1:warm_up],
        milliseconds[warm_up + 5 :],
    )
    print_json(
        {
            "layers": len(env.problem.engine.layers),
            "warm_up_ms": round(statistics.median(exploring), 2),
            "learning_ms": round(statistics.median(learning), 2),
            "learning_ms_fastest": round(min(learning), 2),
            "agent_threads": 1,
            "torch_threads": torch.get_num_threads(),
        }
    )


if __name__ == "__main__":
    main()
