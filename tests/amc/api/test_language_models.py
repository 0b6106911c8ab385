"""Language models of Hugging Face through ``amc.prune``: dict inputs, a score of one's own, save and load."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import amc
from amc.errors import ModelError
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation

transformers = pytest.importorskip("transformers")

SIZES: dict[str, Any] = {"vocab_size": 40, "use_cache": False, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def llama() -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, **LLAMA, num_key_value_heads=2))


def gpt2() -> nn.Module:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**SIZES, n_embd=32, n_layer=2, n_head=4))


def words(rows: int = 8) -> Tensor:
    return torch.randint(2, 40, (rows, 12), generator=torch.Generator().manual_seed(rows))


def inputs(rows: int) -> dict[str, Tensor]:
    mask = torch.ones(rows, 12, dtype=torch.long)
    mask[0, 10:] = 0
    return {"input_ids": words(rows), "attention_mask": mask}


@torch.no_grad()
def perplexity(model: nn.Module) -> float:
    logits = model(**inputs(8)).logits[:, :-1]
    return math.exp(nn.functional.cross_entropy(logits.flatten(0, 1), words()[:, 1:].flatten()))


@pytest.mark.parametrize(("build", "units"), [(llama, [2, 48]), (gpt2, [4, 128])])
def test_a_language_model_is_pruned_saved_and_loaded(
    build: Callable[[], nn.Module], units: list[int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = build().eval()
    result = amc.prune(
        model,
        inputs(1),
        calibration=[(inputs(16), words(16))],
        score=lambda candidate: -perplexity(candidate),
        target=0.7,
        policy="uniform",
        progress=False,
        settings=EngineSettings(round_to=1, repair="independent"),
    )
    kept = [(layer.kept, layer.of) for layer in result.found.layers]
    assert [of for _, of in kept] == 2 * units
    assert result.found.cost.flops <= 0.7 * result.dense.cost.flops
    result.save(tmp_path)
    loaded = amc.load(tmp_path, model=build())
    assert perplexity(loaded) == pytest.approx(perplexity(result.model))
    assert perplexity(result.model) != pytest.approx(perplexity(model))


def halved(model: nn.Module) -> nn.Module:
    engine = TorchEngine(
        model.eval(), inputs(1), inputs(2), lambda _: Evaluation(0.0, 0.0, 1), EngineSettings(reconstruct=False)
    )
    return engine.prune((0.5,) * len(engine.layers))


def test_from_pretrained_reads_what_is_equal_in_all_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = halved(llama())
    amc.save_pretrained(small, tmp_path)
    loaded = transformers.LlamaForCausalLM.from_pretrained(tmp_path)
    config = loaded.config
    assert (config.num_key_value_heads, config.num_attention_heads, config.head_dim) == (1, 2, 8)
    assert config.intermediate_size == 24
    assert small.config.intermediate_size == 48  # the network itself is not changed
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**inputs(2)).logits, small(**inputs(2)).logits)


def test_what_differs_between_layers_is_told(tmp_path: Path) -> None:
    torch.manual_seed(0)
    uneven = llama()
    mlp = uneven.model.layers[1].mlp
    for layer, shape in ((mlp.gate_proj, (24, 32)), (mlp.up_proj, (24, 32)), (mlp.down_proj, (32, 24))):
        layer.weight = nn.Parameter(torch.zeros(shape))
    with pytest.raises(ModelError, match=r"intermediate_size would have to be 24, 48: one number is for all layers"):
        amc.save_pretrained(uneven, tmp_path)
    with pytest.raises(ModelError, match="has layers that its class does not have"):  # GPT-2 stores weights transposed
        amc.save_pretrained(halved(gpt2()), tmp_path)
    with pytest.raises(ModelError, match="a Linear has no configuration"):
        amc.save_pretrained(nn.Linear(1, 1), tmp_path)
