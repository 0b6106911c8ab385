"""A vision transformer and a language model to prune, small enough to be trained on a CPU in minutes.

Both are Hugging Face's own classes with random weights, and both are searched by their loss on held-out samples.
"""

import math
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from setting import make_config
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, ViTConfig, ViTForImageClassification

from amc.run.plan import load_data

WORDS = 96
"""Bytes of text in a row."""


class Samples(NamedTuple):
    """What a network reads, and what it should say, ``(n, ...)`` each."""

    inputs: Tensor
    targets: Tensor

    def take(self, index: Any) -> "Samples":  # noqa: ANN401  whatever indexes a tensor
        """Return some of them."""
        return Samples(self.inputs[index], self.targets[index])

    def draw(self, count: int, generator: torch.Generator) -> "Samples":
        """Return so many, drawn with replacement."""
        return self.take(torch.randint(len(self.targets), (count,), generator=generator))


@dataclass(frozen=True)
class Task:
    """A network and its data.

    Attributes:
        build: makes the network with random weights.
        load: returns the parts ``train``, ``search`` and ``test``.
        keyword: by which the network is called with inputs.
        loss: of logits and targets, a mean.
        quality: of logits and targets, what people ask for, a mean.
        steps: of training the dense network, ``batch`` samples each.
        tuning_steps: of fine-tuning a small one.
        calibration: how many samples of ``train`` repair and rank.
        rate: of learning, the largest.
    """

    build: Callable[[], nn.Module]
    load: Callable[[], Mapping[str, Samples]]
    keyword: str
    loss: Callable[[Tensor, Tensor], Tensor]
    quality: Callable[[Tensor, Tensor], Tensor]
    steps: int
    tuning_steps: int
    batch: int
    calibration: int
    rate: float

    def inputs(self, samples: Samples) -> dict[str, Tensor]:
        """Return what the network is called with."""
        return {self.keyword: samples.inputs}

    def loss_of(self, model: nn.Module, samples: Samples) -> Tensor:
        """Return a network's loss."""
        return self.loss(model(**self.inputs(samples)).logits, samples.targets)

    @torch.no_grad()
    def measure(self, model: nn.Module, samples: Samples) -> dict[str, float]:
        """Return a network's loss and quality in eval mode."""
        found = []
        for start in range(0, len(samples.targets), 100):
            part = samples.take(slice(start, start + 100))
            logits = model.eval()(**self.inputs(part)).logits
            found.append([float(of(logits, part.targets)) * len(part.targets) for of in (self.loss, self.quality)])
        loss, quality = (sum(column) / len(samples.targets) for column in zip(*found, strict=True))
        return {"loss": loss, "quality": quality}


def images() -> dict[str, Samples]:
    """Return Fashion-MNIST, padded to 32x32; of its training images 2,000 are to search."""
    data = load_data(make_config("data=fashion_mnist", "data.search=2000"))
    parts = {"train": data.splits.train, "search": data.splits.search, "test": data.splits.test}
    return {name: Samples(data.inputs(part.images), part.labels) for name, part in parts.items()}


def vision_transformer() -> nn.Module:
    """Build a ``ViTForImageClassification``: 6 layers, 96 wide, 16 patches of 8x8 pixels."""
    config = ViTConfig(
        hidden_size=96,
        intermediate_size=384,
        num_hidden_layers=6,
        num_attention_heads=6,
        image_size=32,
        patch_size=8,
        num_channels=1,
        num_labels=10,
    )
    model: nn.Module = ViTForImageClassification(config)
    return model


def text() -> dict[str, Samples]:
    """Return the sources of Python's standard library as rows of bytes: a tenth of the files for tests and searches."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    parts: dict[str, list[bytes]] = {"train": [], "search": [], "test": []}
    for number, file in enumerate(files):
        part = "test" if number % 10 == 0 else "search" if number % 11 == 1 else "train"
        parts[part].append(file.read_bytes())
    return {name: _rows(b"".join(contents)) for name, contents in parts.items()}


def _rows(content: bytes) -> Samples:
    """Cut bytes into rows of words, int64, in an order drawn once."""
    words = torch.frombuffer(bytearray(content), dtype=torch.uint8).long()
    cut = words[: len(words) // WORDS * WORDS].view(-1, WORDS)
    cut = cut[torch.randperm(len(cut), generator=torch.Generator().manual_seed(0))]
    return Samples(cut, cut)


def language_model() -> nn.Module:
    """Build a ``LlamaForCausalLM`` of bytes: 4 layers, 96 wide, grouped queries, rotary positions, gated layers."""
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


def _next_byte(logits: Tensor, words: Tensor, of: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return of(logits[:, :-1].flatten(0, 1), words[:, 1:].flatten())


def top1(logits: Tensor, targets: Tensor) -> Tensor:
    """Return how often the largest logit is the right one."""
    return (logits.argmax(-1) == targets).float().mean()


cross_entropy = nn.functional.cross_entropy
TASKS = {
    "images": Task(
        *(vision_transformer, images, "pixel_values", cross_entropy, top1),
        steps=1000,
        tuning_steps=100,
        batch=32,
        calibration=256,
        rate=1e-3,
    ),
    "text": Task(
        *(language_model, text, "input_ids", partial(_next_byte, of=cross_entropy), partial(_next_byte, of=top1)),
        steps=350,
        tuning_steps=80,
        batch=16,
        calibration=64,
        rate=3e-3,
    ),
}


def figure(task: str, measured: Mapping[str, float]) -> float:
    """Return what a table shows: top-1 accuracy, or the perplexity of a byte."""
    return measured["quality"] if task == "images" else math.exp(measured["loss"])
