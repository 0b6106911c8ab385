"""A language model pruned to half of its FLOPs: searches against equal ratios, by perplexity, with fine-tuning.

    pip install transformers
    python benchmarks/language_model.py --output outputs/language_model --seeds 0 1 2

A small ``LlamaForCausalLM`` (grouped queries, rotary positions, gated layers) is trained here on the sources of
Python's own standard library, byte by byte. Whole groups of queries with their key and value, and channels of the gated
layers go; with ``blocks`` also whole blocks. Calibration needs no labels; candidates are scored by their loss on
held-out text, given as ``score`` to :func:`amc.prune`. Fine-tuning takes the same steps for all ways. ``--output``
keeps what is finished: the same command goes on.
"""

import argparse
import copy
import json
import math
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from setting import print_json
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

import amc
from envs.engine.settings import EngineSettings
from envs.engine.tracing.preflight import count_flops

WORDS, BATCH, TARGET = 96, 16, 0.5
STEPS, RATE, WARM_UP = 700, 3e-3, 50
TUNING_STEPS, TUNING_RATE = 100, 1e-3
CALIBRATION, SEARCH, TEST = 64, 64, 256
EPISODES = 60
WAYS = ["uniform", "amc", "amc blocks"]


def text() -> dict[str, Tensor]:
    """Return the standard library's sources as rows of bytes: a tenth of the files is for tests, a tenth to search."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    parts: dict[str, list[bytes]] = {"train": [], "search": [], "test": []}
    for number, file in enumerate(files):
        part = "test" if number % 10 == 0 else "search" if number % 11 == 1 else "train"
        parts[part].append(file.read_bytes())
    return {name: rows(b"".join(contents)) for name, contents in parts.items()}


def rows(content: bytes) -> Tensor:
    """Cut bytes into rows of words, int64, in an order drawn once."""
    words = torch.frombuffer(bytearray(content), dtype=torch.uint8).long()
    cut = words[: len(words) // WORDS * WORDS].view(-1, WORDS)
    return cut[torch.randperm(len(cut), generator=torch.Generator().manual_seed(0))]


def network() -> nn.Module:
    """Build a ``LlamaForCausalLM`` with random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=12,
        num_key_value_heads=6,
        max_position_embeddings=WORDS,
        use_cache=False,
    )
    model: nn.Module = LlamaForCausalLM(config)
    return model


def loss_of(model: nn.Module, words: Tensor) -> Tensor:
    """Return the mean loss of the next byte, in nats."""
    logits = model(input_ids=words).logits[:, :-1]
    return nn.functional.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten())


@torch.no_grad()
def perplexity(model: nn.Module, words: Tensor) -> float:
    """Return the perplexity of a byte."""
    losses = [float(loss_of(model.eval(), batch)) * len(batch) for batch in words.split(64)]
    return math.exp(sum(losses) / len(words))


def train(model: nn.Module, words: Tensor, steps: int, rate: float, seed: int) -> nn.Module:
    """Train a copy of a model with AdamW, the rate falling to zero, and return it."""
    model = copy.deepcopy(model).train()
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=WARM_UP / STEPS)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = words[torch.randint(len(words), (BATCH,), generator=generator)]
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def dense(folder: Path, words: Tensor) -> nn.Module:
    """Return the trained model, trained when there is none."""
    model, file = network(), folder / "dense.safetensors"
    if file.exists():
        model.load_state_dict(load_file(file))
        return model.eval()
    trained = train(model, words, STEPS, RATE, seed=0)
    save_file(trained.state_dict(), file)
    return trained


def calibration(parts: dict[str, Tensor], seed: int) -> Tensor:
    """Draw the text that layers are repaired on."""
    generator = torch.Generator().manual_seed(seed)
    return parts["train"][torch.randint(len(parts["train"]), (CALIBRATION,), generator=generator)]


def prune(model: nn.Module, parts: dict[str, Tensor], way: str, seed: int) -> Any:  # noqa: ANN401  a PruneResult
    """Prune to the target by a policy of ours."""
    policy, _, blocks = way.partition(" ")
    words = calibration(parts, seed)
    return amc.prune(
        model,
        {"input_ids": words[:1]},
        calibration=[({"input_ids": words}, words)],
        score=lambda candidate: -math.log(perplexity(candidate, parts["search"][:SEARCH])),
        target=TARGET,
        policy=policy,
        episodes=EPISODES if policy != "uniform" else 1,
        seed=seed,
        progress=False,
        settings=EngineSettings("channel_block" if blocks else "channel", repair="finalists", seed=seed),
    )


def cell(model: nn.Module, parts: dict[str, Tensor], way: str, seed: int, folder: Path) -> dict[str, Any]:
    """Prune, fine-tune, save and load, and return the row."""
    started, test = time.perf_counter(), parts["test"][:TEST]
    row: dict[str, Any] = {"policy": way, "seed": seed}
    result = prune(model, parts, way, seed)
    row["seconds"] = time.perf_counter() - started
    saved = result.save(folder / f"{way.replace(' ', '-')}-{seed}")
    row |= {"loaded": perplexity(amc.load(saved, model=network()), test), "strategy": result.strategy}
    small = result.model
    one = {"input_ids": test[:1]}
    tuned = train(small, parts["train"], TUNING_STEPS, TUNING_RATE, seed)
    return row | {
        "flops": count_flops(small, one) / count_flops(model, one),
        "before": perplexity(small, test),
        "test": perplexity(tuned, test),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not finished yet, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ways", nargs="+", default=WAYS)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    parts, file = text(), args.output / "rows.jsonl"
    model = dense(args.output, parts["train"])
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    finished = {(row["policy"], row["seed"]) for row in found}
    for policy, seed in ((policy, seed) for seed in args.seeds for policy in args.ways):
        if (policy, seed) not in finished:
            found.append(cell(model, parts, policy, seed, args.output))
            with file.open("a") as rows_file:
                rows_file.write(json.dumps(found[-1]) + "\n")
    print_json({"dense": perplexity(model, parts["test"][:TEST]), "rows": found})


if __name__ == "__main__":
    main()
