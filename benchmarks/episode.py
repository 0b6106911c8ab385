"""Seconds an episode: the engine against AMC's procedure, against the fastest forward pass, racing and a coreset.

    python benchmarks/episode.py                       # an hour or two on 2 cores
    python benchmarks/episode.py --short               # under ten minutes, the training of the network included

Times are those of all cores together (CPU seconds); with one thread they are what wall time would be on an idle
machine. What is compared takes turns in one process.
"""

import argparse
import copy
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from math import isnan

import torch
from coreset_ranking import agreement, choose
from reference_procedure import ReferenceProcedure
from rich.console import Console
from rich.table import Table
from setting import Clock, Setting, clocked, make_setting, print_json
from torch import Tensor, nn

from amc.agent.policy import AMC
from envs.constraint import ResourceBudget
from envs.coreset_scoring import pilot_strategies, score_finalists
from envs.engine.network.memory_layout import channels_last
from envs.engine.repair.adaptive_bn import recalibrate_batch_norms
from envs.engine.scoring.coreset import CoresetScorer
from envs.engine.scoring.precision import running_in
from envs.engine.scoring.racing import RacingScorer
from envs.engine.scoring.top1 import Score, Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import ADAPTIVE_BATCH, TorchEngine
from envs.engine.types import Strategy
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, best_trial

KEYS = ("model=mobilenet", "data=fashion_mnist", "data.calibration=3000", "train.epochs=3")
SHORT = {"targets": [0.5], "strategies": 1, "rounds": 1, "seeds": 1, "episodes": 8, "ranked": 20}
SHORT_TRAINING = "train.epochs=0.5"
THEIR_PARTS = ("least squares by SVD", "masked scoring")
ON_CORESET = "scoring on the coreset"
MIN_KEEP = 0.1
CPU = torch.device("cpu")


def random_strategies(engine: TorchEngine, target: float, count: int) -> list[Strategy]:
    """Return random strategies that meet the target."""
    return pilot_strategies(ResourceBudget(engine, "flops", target, MIN_KEEP), count, seed=0)


class Stages:
    """The parts of an episode, one clock each."""

    def __init__(self, engine: TorchEngine, calibration: Tensor, score: Score) -> None:
        self.engine, self.calibration, self.score = engine, calibration, score
        self.clocks = {name: Clock([], []) for name in ("least squares and slicing", "adaptive", "folding", "scoring")}

    def run(self, strategy: Strategy, adaptive: bool) -> float:
        """Evaluate a strategy and return its accuracy."""
        engine, clocks = self.engine, self.clocks
        kept = engine.kept(strategy)
        small = clocked(clocks["least squares and slicing"], lambda: engine.pruner.prune(kept))
        with running_in(engine.precision, CPU):
            if adaptive:
                images = self.calibration[:500]
                clocked(clocks["adaptive"], lambda: recalibrate_batch_norms(small, images, ADAPTIVE_BATCH))
            folded = clocked(clocks["folding"], lambda: engine.pruner.for_inference(small))
            return clocked(clocks["scoring"], lambda: self.score(folded)).metric

    def seconds(self, *names: str) -> float:
        """Return the median seconds of some stages together."""
        return sum(self.clocks[name].median() for name in names)


def forward_pass(model: nn.Module, images: Tensor, batch_size: int, precision: str) -> None:
    """Run all images through a network in eager mode."""
    with torch.inference_mode(), running_in(precision, CPU):
        for batch in images.split(batch_size):
            model(batch)


def compiled_pass(model: nn.Module, images: Tensor, batch_size: int) -> Callable[[], None]:
    """Return a pass of the network compiled by inductor with frozen weights, in bfloat16, compiled beforehand."""
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    inductor.freezing = True
    dynamo.automatic_dynamic_shapes = False  # each size of batch for itself
    half = copy.deepcopy(model).to(torch.bfloat16)
    fast = torch.compile(half)
    batches = [batch.to(torch.bfloat16) for batch in images.split(batch_size) if len(batch) == batch_size]

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                fast(batch)

    run()
    return run


def floors(
    engine: TorchEngine, stages: Stages, strategy: Strategy, images: Tensor, rounds: int
) -> tuple[float, dict[str, float]]:
    """Return the seconds of an episode, and those that its images take through the same network in several ways."""
    folded = engine.pruner.for_inference(engine.pruner.prune(engine.kept(strategy)))
    images = channels_last(images)
    ways: dict[str, Callable[[], None]] = {
        f"eager {precision}, batches of {size}": partial(forward_pass, folded, images, size, precision)
        for precision in ("fp32", "bf16")
        for size in (50, 100, 200)
    }
    for size in (100, 200, 250) if rounds > 1 else (200,):  # compiling takes half a minute
        ways[f"compiled bf16, batches of {size}"] = compiled_pass(folded, images, size)
    clocks = {name: Clock([], []) for name in ways}
    episode = Clock([], [])
    for _ in range(rounds):
        clocked(episode, partial(stages.run, strategy, adaptive=False))
        for name, way in ways.items():
            clocked(clocks[name], way)
    return episode.median(), {name: clock.median() for name, clock in clocks.items()}


def searches(
    setting: Setting, engine: TorchEngine, target: float, chosen: CoresetScorer, seeds: int, episodes: int
) -> dict[str, float]:
    """Search on all images, racing, and on a coreset; return seconds and images an episode, and the best's quality."""
    scorer = Top1Scorer(setting.search, setting.labels)
    names = ("full", "racing", "coreset", "images", "policy", "racing difference", "coreset difference")
    found: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(seeds):
        best = {}
        ways: dict[str, Score] = {"full": scorer, "racing": RacingScorer(scorer, setting.model), "coreset": chosen}
        for name, score in ways.items():
            engine.score = score
            engine.forget()
            env = RecordTrials(PruningEnv(engine, target=target), episodes)
            clock = Clock([], [])
            clocked(clock, partial(AMC(seed=seed).search, env))
            trials = env.trials
            if name == "coreset":
                trials = clocked(clock, partial(score_finalists, env.problem, trials, scorer))
            found[name].append(sum(clock.cpu) / episodes)
            engine.score = scorer
            best[name] = engine.score_again(best_trial(trials).strategy).metric
            if name == "full":
                engine_share = sum(t.engine_seconds for t in env.trials) / sum(t.seconds for t in env.trials)
                found["policy"].append(found["full"][-1] * (1 - engine_share))
            elif name == "racing":
                found["images"].append(statistics.mean(trial.evaluation.n_samples for trial in env.trials))
        for name in ("racing", "coreset"):
            found[f"{name} difference"].append(best[name] - best["full"])
    return {name: statistics.mean(values) for name, values in found.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=float, nargs="+", default=[0.5, 0.2], help="of the FLOPs; the first leads")
    parser.add_argument("--strategies", type=int, default=3, help="random strategies a target")
    parser.add_argument("--rounds", type=int, default=3, help="passes that the floor is the median of")
    parser.add_argument("--seeds", type=int, default=5, help="searches on all images, racing and on a coreset")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of each search")
    parser.add_argument("--ranked", type=int, default=100, help="strategies that a coreset ranks")
    parser.add_argument("--unseen", action="store_true", help="compare rankings on the test split, too")
    parser.add_argument("--error", type=float, help="scoring.error")
    parser.add_argument("--short", action="store_true", help="as little of all as tells something; half an epoch")
    parser.add_argument("keys", nargs="*", help="keys of amc.search, such as cache_dir=... or data.search=1000")
    args = parser.parse_args(arguments)
    if args.short:
        vars(args).update(SHORT)
    setting = make_setting(*KEYS, *([SHORT_TRAINING] if args.short else []), *args.keys)
    torch.set_num_threads(1)
    scorer = Top1Scorer(setting.search, setting.labels)
    engine = TorchEngine(setting.model, setting.calibration[:1], setting.calibration, scorer, EngineSettings())
    reference = ReferenceProcedure(engine.model, engine.pruner, setting.calibration, engine.settings.seed)
    stages = Stages(engine, channels_last(setting.calibration), scorer)  # as an engine lays it out
    console = Console()
    rows, differences = {}, []
    coresets = {target: choose(engine, target, MIN_KEEP, scorer, args.error) for target in args.targets}
    for target in args.targets:
        clocks = {name: Clock([], []) for name in (*THEIR_PARTS, ON_CORESET)}
        stages.clocks = {name: Clock([], []) for name in stages.clocks}
        for strategy in random_strategies(engine, target, args.strategies):
            masked = clocked(clocks["least squares by SVD"], lambda s=strategy: reference.prune(engine.kept(s)))
            theirs = clocked(
                clocks["masked scoring"], lambda m=masked: reference.accuracy(m, setting.search, setting.labels)
            )
            ours = stages.run(strategy, adaptive=False)
            stages.run(strategy, adaptive=True)
            differences.append(ours - theirs)
            on_coreset = partial(engine.run, engine.prune(strategy), coresets[target].score)
            clocked(clocks[ON_CORESET], on_coreset)
        rows[target] = {name: clock.median() for name, clock in (clocks | stages.clocks).items()}
    lead = args.targets[0]
    strategy = random_strategies(engine, lead, 1)[0]
    episode, floor = floors(engine, stages, strategy, setting.search, args.rounds)
    search = searches(setting, engine, lead, coresets[lead].score, args.seeds, args.episodes)
    test = setting.unseen() if args.unseen else None
    ranked = {
        target: agreement(engine, random_strategies(engine, target, args.ranked), chosen.score, scorer, test)
        for target, chosen in coresets.items()
    }

    table = Table("CPU seconds", *(f"target {target}" for target in rows))
    for name in rows[lead]:
        table.add_row(name, *(f"{row[name]:.3f}" for row in rows.values()))
    console.print(table)
    table = Table(f"forward pass at target {lead}", "CPU seconds")
    for name, seconds in floor.items():
        table.add_row(name, f"{seconds:.3f}")
    console.print(table)

    def of(target: float, *names: str) -> float:
        return sum(rows[target][name] for name in names)

    def ratio(target: float, *ours: str) -> float:
        return round(of(target, *THEIR_PARTS) / of(target, *ours), 2)

    before = ("least squares and slicing", "folding")
    our_parts = (*before, "scoring")
    print_json(
        {
            "speedup": ratio(lead, *our_parts),
            "speedup_racing": round(of(lead, *THEIR_PARTS) / search["racing"], 2),
            "speedup_coreset": ratio(lead, *before, ON_CORESET),
            "speedup_coreset_adaptive": ratio(lead, *before, "adaptive", ON_CORESET),
            "speedup_coreset_search": round(of(lead, *THEIR_PARTS) / search["coreset"], 2),
            **{f"speedup_target_{target}": ratio(target, *our_parts) for target in args.targets[1:]},
            **{f"speedup_coreset_target_{target}": ratio(target, *before, ON_CORESET) for target in args.targets[1:]},
            "coreset_images": {str(target): len(each.score.coreset.images) for target, each in coresets.items()},
            "coreset_error": {str(target): round(each.score.coreset.error, 5) for target, each in coresets.items()},
            "coreset_pilot_seconds": {str(target): round(each.seconds, 1) for target, each in coresets.items()},
            "coreset_rank_correlation": round(ranked[lead].whole, 3),
            "coreset_ranking": {
                # JSON knows no nan: what is not asked for is left out.
                str(target): {name: round(value, 4) for name, value in each._asdict().items() if not isnan(value)}
                for target, each in ranked.items()
            },
            "coreset_best_difference": round(search["coreset difference"], 5),
            "over_floor": round((episode + search["policy"]) / min(floor.values()), 3),
            "accuracy_difference": round(max(map(abs, differences)), 5),
            "adaptive_share": round(of(lead, "adaptive") / of(lead, "adaptive", *our_parts), 3),
            "racing_images": round(search["images"]),
            "racing_over_full": round(search["racing"] / search["full"], 3),
            "racing_best_difference": round(search["racing difference"], 5),
            "policy_seconds": round(search["policy"], 4),
            "reference_seconds": round(of(lead, *THEIR_PARTS), 3),
            "episode_seconds": round(of(lead, *our_parts), 3),
        }
    )


if __name__ == "__main__":
    main()
