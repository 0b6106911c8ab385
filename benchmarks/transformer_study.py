"""Transformers pruned to half of their FLOPs: searches against equal ratios and torch-pruning, with fine-tuning.

    pip install transformers
    python benchmarks/transformer_study.py images --output outputs/vit --seeds 0 1 2
    python benchmarks/transformer_study.py text --output outputs/language_model --seeds 0 1 2

``images``: a ViT on Fashion-MNIST; ``text``: a small Llama on the sources of Python's own standard library, byte by
byte. Each is trained here, anew for every seed. Heads (whole groups of queries with their key and value) and hidden
channels go; with ``blocks`` also whole blocks. Candidates are scored by their loss on samples held out for that, given
as ``score`` to :func:`amc.prune`. All ways see the same calibration samples (ours repair on them, torch-pruning ranks
by Taylor's expansion on them, in every layer by itself or in all together), and fine-tune for the same steps.
``--output`` keeps what is finished: the same command goes on.
"""

import argparse
import copy
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from record import Record, Row
from safetensors.torch import load_file, save_file
from setting import print_json
from torch import nn
from transformer_rivals import torch_pruned, widths
from transformer_tasks import TASKS, Samples, Task, figure

import amc
from envs.engine.settings import EngineSettings
from envs.engine.tracing.preflight import count_flops

TARGET, EPISODES = 0.5, 40
SEARCH, TEST = {"images": 512, "text": 64}, {"images": 4000, "text": 256}
WAYS = ["uniform", "amc", "amc blocks", "torch-pruning local", "torch-pruning global"]
Parts = Mapping[str, Samples]


def train(model: nn.Module, task: Task, data: Samples, steps: int, rate: float, seed: int) -> nn.Module:
    """Train a copy of a model with AdamW, the rate falling to zero, and return it."""
    model = copy.deepcopy(model).train()
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        task.loss_of(model, data.draw(task.batch, generator)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def dense(task: Task, file: Path, data: Samples, seed: int) -> nn.Module:
    """Return the trained model, trained when there is none."""
    torch.manual_seed(seed)
    model = task.build()
    if file.exists():
        model.load_state_dict(load_file(file))
        return model.eval()
    trained = train(model, task, data, task.steps, task.rate, seed)
    save_file(trained.state_dict(), file)
    return trained


def searched(model: nn.Module, task: Task, calibration: Samples, search: Samples, way: str, seed: int) -> Any:  # noqa: ANN401  a PruneResult
    """Prune to the target by a policy of ours."""
    policy, _, blocks = way.partition(" ")
    return amc.prune(
        model,
        task.inputs(calibration.take(slice(1))),
        calibration=[(task.inputs(calibration), calibration.targets)],
        score=lambda candidate: -task.measure(candidate, search)["loss"],
        target=TARGET,
        policy=policy,
        episodes=EPISODES if policy != "uniform" else 1,
        seed=seed,
        progress=False,
        settings=EngineSettings("channel_block" if blocks else "channel", repair="finalists", seed=seed),
    )


def cell(model: nn.Module, name: str, parts: Parts, way: str, seed: int, folder: Path) -> Row:
    """Prune, fine-tune, save and load, and return the row."""
    task, test = TASKS[name], parts["test"].take(slice(TEST[name]))
    calibration = parts["train"].draw(task.calibration, torch.Generator().manual_seed(seed))
    row: Row = {"way": way, "seed": seed, "dense": task.measure(model, test)}
    started = time.perf_counter()
    library, _, ranking = way.partition(" ")
    one = task.inputs(calibration.take(slice(1)))
    if library == "torch-pruning":
        small = torch_pruned(model, one, lambda network: task.loss_of(network, calibration), ranking, TARGET)
        row["seconds"] = time.perf_counter() - started
        row["widths"] = widths(small)
    else:
        result = searched(model, task, calibration, parts["search"].take(slice(SEARCH[name])), way, seed)
        row["seconds"] = time.perf_counter() - started
        small = result.model
        saved = result.save(folder / f"{way.replace(' ', '-')}-{seed}")
        row |= {"loaded": task.measure(amc.load(saved, model=task.build()), test)}
        row["widths"] = {layer.layer: [layer.kept, layer.of] for layer in result.found.layers}
    row |= {"flops": count_flops(small, one) / count_flops(model, one), "before": task.measure(small, test)}
    tuned = train(small, task, parts["train"], task.tuning_steps, task.rate / 3, seed)
    return row | {"after": task.measure(tuned, test)}


def table(name: str, rows: Sequence[Row]) -> str:
    """Return the means of all seeds, with the standard deviation, as Markdown; a dense network's figure comes first."""
    lines = [f"| {name} | FLOPs | before fine-tuning | after |", "|---|---:|---:|---:|"]
    firsts = {row["seed"]: row["dense"] for row in rows}
    lines.append(f"| dense | 100% | - | {_spread(name, list(firsts.values()))} |")
    for way in dict.fromkeys(row["way"] for row in rows):
        its = [row for row in rows if row["way"] == way]
        spreads = (_spread(name, [row[moment] for row in its]) for moment in ("before", "after"))
        lines.append(f"| {way} | {mean(row['flops'] for row in its):.1%} | {' | '.join(spreads)} |")
    return "\n".join(lines)


def _spread(name: str, measured: Sequence[Mapping[str, float]]) -> str:
    figures = [figure(name, each) for each in measured]
    form = ".1%" if name == "images" else ".2f"
    return f"{mean(figures):{form}}" + (f" ± {stdev(figures):{form}}" if len(figures) > 1 else "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not finished yet, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    record = Record(args.output / "rows.jsonl", {"task": args.task, "target": TARGET, "episodes": EPISODES})
    finished = {(row["way"], row["seed"]) for row in record.rows}
    task = TASKS[args.task]
    parts = task.load()
    for seed in args.seeds:
        model = dense(task, args.output / f"dense-{seed}.safetensors", parts["train"], seed)
        for way in args.ways:
            if (way, seed) not in finished:
                record.add(cell(model, args.task, parts, way, seed, args.output))
    print(table(args.task, record.rows))
    print_json({"rows": record.rows})


if __name__ == "__main__":
    main()
