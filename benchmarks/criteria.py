"""Every meaningful pair of granularity and criterion on one network, at uniform ratios: a Markdown table.

    python benchmarks/criteria.py --images 2000 --steps 200 model=resnet20 data=fashion_mnist train.epochs=4

What stands after the options are the keys of ``amc.search``. The network is trained, or found in ``cache_dir``. All
pairs keep the same share of the resource, with equal ratios; top-1 is that of the search split, before and after a
short fine-tuning. The last line of the output is the table as JSON.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_file
from setting import make_config
from torch import nn

from amc.config.schema import SearchConfig
from amc.run.plan import load_data, make_plan
from amc.run.stage import make_engine
from amc.seeding import seed_everything
from amc.training.dense import trained_network
from amc.training.finetune import finetuning_recipe
from amc.training.sgd import fit
from amc.zoo.data.dataset import Split, Splits
from amc.zoo.models.building import new_network
from baselines.uniform import uniform_trial
from envs.engine.choices import ANY_GRANULARITY, CHANNELS_ONLY
from envs.engine.surgery.granularity import GRANULARITIES
from envs.pruning_env import PruningEnv

COLUMNS = ("granularity", "criterion", "target", "kept", "memory", "before", "after", "seconds")
console = Console(stderr=True)


@dataclass(frozen=True)
class Row:
    """One pair at one target.

    Attributes:
        granularity: what was removed.
        criterion: what ranked it.
        target: fraction of the resource that may be kept.
        kept: fraction that is kept.
        memory: bytes as shipped, as a fraction of the dense network's.
        before: top-1 before fine-tuning.
        after: top-1 after it.
        seconds: to rank, prune and repair.
    """

    granularity: str
    criterion: str
    target: float
    kept: float
    memory: float
    before: float
    after: float
    seconds: float


def arguments() -> tuple[argparse.Namespace, list[str]]:
    """Parse the options; the rest are keys of the configuration."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=2000, help="images of the search split that are scored")
    parser.add_argument("--steps", type=int, default=200, help="steps of fine-tuning; 0 for none")
    parser.add_argument("--targets", type=float, nargs="+", default=[0.5, 0.3], help="fractions to keep")
    names = ["channel", *GRANULARITIES]  # whole blocks have no rank
    parser.add_argument("--granularities", nargs="+", choices=names, default=names, help="those to compare")
    parser.add_argument("--seeds", type=int, default=1, help="draws of criterion=random; the table has their mean")
    parser.add_argument("--weights", type=Path, help="safetensors of a trained network, instead of training one")
    parser.add_argument("--output", type=Path, help="where the table goes, too")
    return parser.parse_known_args()


def pairs(granularities: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield every pair of granularity and criterion that has a meaning."""
    for granularity, criterion in product(granularities, (*ANY_GRANULARITY, *CHANNELS_ONLY)):
        if granularity == "channel" or criterion in ANY_GRANULARITY:
            yield granularity, criterion


class Comparison:
    """The dense network, and what every pair makes of it."""

    def __init__(self, cfg: SearchConfig, images: int, steps: int, weights: Path | None) -> None:
        self.cfg = cfg
        self.data = load_data(cfg)
        self.splits = self.data.splits
        self.dense = self._dense(weights)
        self.score = self.data.scorer(Split(self.splits.search.images[:images], self.splits.search.labels[:images]))
        self.steps = steps

    def _dense(self, weights: Path | None) -> nn.Module:
        if weights is None:
            return trained_network(self.cfg, self.data)
        model = new_network(self.cfg.model, self.splits)
        model.load_state_dict(load_file(weights))
        return model.to(self.data.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def rows(self, granularity: str, criterion: str, targets: list[float], seed: int) -> Iterator[Row]:
        """Rank once, then prune and fine-tune for every target."""
        cfg = replace(self.cfg, granularity=granularity, criterion=criterion, seed=seed, constraint="rescale")
        start = time.perf_counter()
        plan = replace(make_plan(cfg, self.data), score=self.score)
        engine = make_engine(plan, self.dense)
        ranking = time.perf_counter() - start
        dense = engine.cost(engine.dense_strategy)
        resource = cfg.resource
        for target in targets:
            start = time.perf_counter()
            trial = uniform_trial(PruningEnv(engine, resource=resource, target=target, min_keep=cfg.min_keep))
            model = engine.prune(trial.strategy)
            seconds = ranking + time.perf_counter() - start
            before = self.score(model).metric
            self.finetune(model, seed)
            yield Row(
                granularity=granularity,
                criterion=criterion,
                target=target,
                kept=getattr(trial.cost, resource) / getattr(dense, resource),
                memory=(trial.cost.memory or 0.0) / (dense.memory or 1.0),
                before=before,
                after=self.score(model).metric,
                seconds=seconds,
            )

    def finetune(self, model: nn.Module, seed: int) -> None:
        """Train for the steps asked for, as ``amc.search`` fine-tunes."""
        if self.steps == 0:
            return
        recipe = finetuning_recipe(self.cfg.train, replace(self.cfg.finetune, epochs=1))
        count = self.steps * recipe.batch_size
        # Over and over, where the split is smaller than that.
        order = torch.arange(count) % len(self.splits.train.labels)
        few: Splits = replace(self.splits, train=self.splits.train.take(order))
        seed_everything(seed)
        fit(model, few, recipe, seed, str(self.data.device))


def mean_row(rows: list[Row]) -> Row:
    """Return the mean of rows of one pair and target."""
    numbers = {name: sum(getattr(row, name) for row in rows) / len(rows) for name in COLUMNS[3:]}
    return replace(rows[0], **numbers)


def markdown(rows: list[Row]) -> str:
    """Return the rows as a table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|" + "---:|" * (len(COLUMNS) - 2)]
    for row in rows:
        shares = [f"{share:.1%}" for share in (row.target, row.kept, row.memory)]
        top1 = [f"{value:.2%}" for value in (row.before, row.after)]
        lines.append("| " + " | ".join([row.granularity, row.criterion, *shares, *top1, f"{row.seconds:.1f}"]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, then one line of JSON."""
    options, overrides = arguments()
    cfg = make_config("model=resnet20", "data=fashion_mnist", *overrides)
    comparison = Comparison(cfg, options.images, options.steps, options.weights)
    dense = comparison.score(comparison.dense).metric
    found: dict[float, list[Row]] = {target: [] for target in options.targets}
    for granularity, criterion in pairs(options.granularities):
        draws = options.seeds if criterion == "random" else 1
        runs = [
            list(comparison.rows(granularity, criterion, options.targets, cfg.seed + draw)) for draw in range(draws)
        ]
        for target, rows in zip(options.targets, zip(*runs, strict=True), strict=True):
            row = mean_row(list(rows))
            found[target].append(row)
            console.print(f"{row.granularity} {row.criterion} {target:g}: {row.before:.4f} -> {row.after:.4f}")
    table = [row for rows in found.values() for row in rows]
    resource = cfg.resource
    heading = (
        f"{cfg.model.name} on {cfg.data.name}, dense {dense:.2%}. Equal ratios; `target` and `kept` of the {resource}, "
        f"`memory` as shipped; top-1 on {len(comparison.score)} images of the search split, before and after "
        f"{options.steps} steps of fine-tuning; `seconds` to rank, prune and repair.\n"
    )
    text = f"{heading}\n{markdown(table)}"
    print(text)
    if options.output is not None:
        options.output.write_text(text)
    summary: dict[str, Any] = {"dense": dense, "images": len(comparison.score), "steps": options.steps}
    print(json.dumps(summary | {"rows": [asdict(row) for row in table]}))


if __name__ == "__main__":
    main()
