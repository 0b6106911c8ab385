"""The networks of ``zoo.py``: of torchvision and timm by name, of transformers and diffusers by sizes, and one of ours.

Networks of language and sound have the published architecture with fewer and narrower layers, so that a laptop runs
them: what pruning has to understand is their code, and that is the same.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from zoo_detector import Detector

IMAGE_SIZES: dict[str, int] = {
    "torchvision/alexnet": 64,
    "torchvision/convnext_tiny": 64,
    "torchvision/densenet121": 64,
    "torchvision/efficientnet_b0": 64,
    "torchvision/efficientnet_v2_s": 64,
    "torchvision/googlenet": 64,
    "torchvision/inception_v3": 299,
    "torchvision/maxvit_t": 224,
    "torchvision/mnasnet1_0": 64,
    "torchvision/mobilenet_v2": 64,
    "torchvision/mobilenet_v3_small": 64,
    "torchvision/regnet_y_400mf": 64,
    "torchvision/resnet18": 64,
    "torchvision/resnet50": 64,
    "torchvision/resnext50_32x4d": 64,
    "torchvision/shufflenet_v2_x1_0": 64,
    "torchvision/squeezenet1_1": 64,
    "torchvision/swin_t": 224,
    "torchvision/swin_v2_t": 256,
    "torchvision/vgg16_bn": 64,
    "torchvision/vit_b_16": 224,
    "torchvision/wide_resnet50_2": 64,
    "timm/caformer_s18": 64,
    "timm/convnextv2_atto": 64,
    "timm/deit_tiny_patch16_224": 224,
    "timm/dla34": 64,
    "timm/dm_nfnet_f0": 64,
    "timm/edgenext_xx_small": 64,
    "timm/efficientformer_l1": 224,
    "timm/eva02_tiny_patch14_224": 224,
    "timm/ghostnet_100": 64,
    "timm/hrnet_w18_small": 64,
    "timm/levit_128s": 224,
    "timm/mixer_s16_224": 224,
    "timm/mobilevit_xs": 64,
    "timm/poolformer_s12": 64,
    "timm/pvt_v2_b0": 64,
    "timm/repvgg_a0": 64,
    "timm/resmlp_12_224": 224,
    "timm/rexnet_100": 64,
    "timm/swin_tiny_patch4_window7_224": 224,
    "timm/vit_tiny_patch16_224": 224,
    "timm/xception41": 64,
    "own/yolo_like": 64,
}
"""Side of the images that networks are called with."""
WORDS, VOCABULARY = 32, 500
SMALL = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 6}
BERT = {"vocab_size": VOCABULARY, "max_position_embeddings": 64}
DECODER = {"vocab_size": VOCABULARY, "use_cache": False, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


def words(batch: int) -> dict[str, Tensor]:
    """Return sentences."""
    return {"input_ids": torch.randint(2, VOCABULARY, (batch, WORDS))}


def sounds(batch: int) -> dict[str, Tensor]:
    """Return half a second of sound."""
    return {"input_values": torch.randn(batch, 8000)}


def whisper(batch: int) -> dict[str, Tensor]:
    """Return spectra of sound, and the words so far."""
    return {
        "input_features": torch.randn(batch, 80, 128),
        "decoder_input_ids": torch.randint(2, VOCABULARY, (batch, 8)),
    }


def pictures(size: int) -> Callable[[int], dict[str, Tensor]]:
    """Return what makes images."""
    return lambda batch: {"pixel_values": torch.randn(batch, 3, size, size)}


def noisy(batch: int) -> dict[str, Tensor]:
    """Return images with noise, and how much."""
    return {"sample": torch.randn(batch, 3, 32, 32), "timestep": torch.full((batch,), 10.0)}


def words_twice(batch: int) -> dict[str, Tensor]:
    """Return sentences, and what they become."""
    return words(batch) | {"decoder_input_ids": torch.randint(2, VOCABULARY, (batch, 8))}


OWN_SIZES: dict[str, tuple[str, str, dict[str, Any], Callable[[int], dict[str, Tensor]]]] = {
    "transformers/bert": ("BertForSequenceClassification", "BertConfig", SMALL | BERT, words),
    "transformers/distilbert": (
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {"dim": 96, "hidden_dim": 256, "n_layers": 2, "n_heads": 6} | BERT,
        words,
    ),
    "transformers/electra": ("ElectraForMaskedLM", "ElectraConfig", SMALL | BERT | {"embedding_size": 96}, words),
    "transformers/gpt2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {"n_embd": 96, "n_layer": 2, "n_head": 6} | DECODER | {"pad_token_id": None},  # as published
        words,
    ),
    "transformers/llama": ("LlamaForCausalLM", "LlamaConfig", SMALL | DECODER | {"num_key_value_heads": 3}, words),
    "transformers/mistral": (
        "MistralForCausalLM",
        "MistralConfig",
        SMALL | DECODER | {"num_key_value_heads": 3},
        words,
    ),
    "transformers/opt": (
        "OPTForCausalLM",
        "OPTConfig",
        {"hidden_size": 96, "ffn_dim": 256, "num_hidden_layers": 2, "num_attention_heads": 6} | DECODER,
        words,
    ),
    "transformers/qwen2": ("Qwen2ForCausalLM", "Qwen2Config", SMALL | DECODER | {"num_key_value_heads": 2}, words),
    "transformers/rt_detr": (
        "RTDetrForObjectDetection",
        "RTDetrConfig",
        {"num_queries": 20, "decoder_layers": 2, "use_pretrained_backbone": False, "num_labels": 5},
        pictures(128),
    ),
    "transformers/segformer": ("SegformerForSemanticSegmentation", "SegformerConfig", {}, pictures(64)),
    "transformers/t5": (
        "T5ForConditionalGeneration",
        "T5Config",
        {"d_model": 96, "d_kv": 16, "d_ff": 256, "num_layers": 2, "num_heads": 6, "decoder_start_token_id": 0}
        | DECODER,
        words_twice,
    ),
    "transformers/vit": ("ViTForImageClassification", "ViTConfig", SMALL | {"image_size": 64}, pictures(64)),
    "transformers/wav2vec2": (
        "Wav2Vec2ForCTC",
        "Wav2Vec2Config",
        SMALL | {"vocab_size": 32, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
        sounds,
    ),
    "transformers/whisper": (
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        {
            "d_model": 96,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_ffn_dim": 256,
            "decoder_ffn_dim": 256,
            "encoder_attention_heads": 6,
            "decoder_attention_heads": 6,
            "max_source_positions": 64,
            "decoder_start_token_id": 0,
        }
        | DECODER,
        whisper,
    ),
    "diffusers/unet": (
        "UNet2DModel",
        "",
        {
            "sample_size": 32,
            "in_channels": 3,
            "out_channels": 3,
            "block_out_channels": (32, 64),
            "norm_num_groups": 8,
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        },
        noisy,
    ),
}
"""Class, class of its configuration, sizes and inputs of the networks of other libraries."""
NETWORKS = (*IMAGE_SIZES, *OWN_SIZES)


def build(name: str) -> nn.Module:
    """Build a network with random weights."""
    library, _, model = name.partition("/")
    torch.manual_seed(0)
    if library == "own":
        return Detector()
    if library == "timm":
        return importlib.import_module("timm").create_model(model, pretrained=False)
    if library == "torchvision":
        initialised = {"init_weights": True} if model in ("googlenet", "inception_v3") else {}
        return importlib.import_module("torchvision.models").get_model(model, weights=None, **initialised)
    kind, config, sizes, _ = OWN_SIZES[name]
    package = importlib.import_module(library)
    return getattr(package, kind)(getattr(package, config)(**sizes)) if config else getattr(package, kind)(**sizes)


def inputs_of(name: str, batch: int) -> Tensor | Mapping[str, Tensor]:
    """Return random inputs of a network."""
    if name in IMAGE_SIZES:
        return torch.randn(batch, 3, IMAGE_SIZES[name], IMAGE_SIZES[name])
    return OWN_SIZES[name][3](batch)


def describe_inputs(name: str) -> str:
    """Return the shapes of a network's inputs without the batch."""
    inputs = inputs_of(name, 1)
    tensors = [inputs] if isinstance(inputs, Tensor) else inputs.values()
    return ", ".join("x".join(map(str, tensor.shape[1:])) or "1" for tensor in tensors)
