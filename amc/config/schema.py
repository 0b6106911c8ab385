"""The configuration's schema: Hydra checks names and types against it, ``amc.config.validation`` checks ranges."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from amc.config.overrides import last_part
from amc.names import folder_name, folder_path

_BESIDE = Path(__file__).parents[1] / "conf"
# A wheel carries the folder inside the package; in a checkout it stands at the top.
CONF = _BESIDE if _BESIDE.is_dir() else Path(__file__).parents[2] / "conf"


class Granularity(Enum):
    """What is removed, from coarse to fine; ``n_m``: all but n of m consecutive weights."""

    channel = "channel"
    kernel = "kernel"
    vector = "vector"
    element = "element"
    n_m = "n_m"


class Criterion(Enum):
    """What ranks the units of a layer."""

    l1 = "l1"
    l2 = "l2"
    bn_scale = "bn_scale"
    obd = "obd"
    taylor = "taylor"
    apoz = "apoz"
    regression = "regression"
    random = "random"


class Curvature(Enum):
    """How ``criterion=obd`` estimates the diagonal of the Hessian."""

    fisher = "fisher"
    hutchinson = "hutchinson"


class Resource(Enum):
    """What the target limits; ``memory``: bytes of the weights as shipped, see ``envs.engine.pruners.storage``."""

    flops = "flops"
    params = "params"
    memory = "memory"


class Reward(Enum):
    """What an episode is worth: AMC's R_err, R_FLOPs and R_Param."""

    accuracy = "accuracy"
    accuracy_flops = "accuracy_flops"
    accuracy_params = "accuracy_params"


class Constraint(Enum):
    """How the target is met: layer by layer, or by one factor on the whole strategy."""

    bound = "bound"
    rescale = "rescale"


class Precision(Enum):
    """What candidates run in: ``auto`` takes bfloat16 where it is faster and agrees with float32."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class Scoring(Enum):
    """How many images a candidate is scored on: all of them, or as many as show that it is behind the best."""

    full = "full"
    racing = "racing"


class Export(Enum):
    """Formats beside safetensors that the pruned network is written in."""

    onnx = "onnx"
    pt2 = "pt2"


# One's own network or data is called as the function that makes it, unless told otherwise.
CALLED = "${last_part:${._target_}}"


@dataclass
class ModelConfig:
    """A network of the zoo, or one's own.

    Attributes:
        name: in the zoo or library; for one's own, what to call it.
        _target_: dotted path of what makes one's own network, see ``amc.run.targets``; none for the zoo's.
        args: names and values that it is called with; none for no more than what it takes of the keys here.
        checkpoint: a trained network's weights, see ``amc.weights.checkpoint``; nothing is trained then.
        width: multiplier on every channel count.
        pretrained: start from the weights that the network's library publishes.
    """

    name: str = CALLED
    _target_: str | None = None
    args: Any = None
    checkpoint: str | None = None
    width: float = 1.0
    pretrained: bool = False


@dataclass
class DataConfig:
    """A data set and how it is split.

    Attributes:
        name: in the registry; for one's own, what to call it.
        _target_: dotted path of what makes one's own data, see ``amc.zoo.data.own_splits``; none for the registry's.
        args: names and values that it is called with; none for no more than what it takes of the keys here.
        folder: where its files lie; none for where the data set looks by itself.
        calibration: images that repair pruned networks; criteria that look at gradients use their labels, too.
        search: images cut from the training set that strategies are scored on.
        width: width multiplier that suits this data, for networks made for ImageNet.
        image_size: height and width that images are brought to, for data sets without a size of their own.
        finetune_epochs: epochs of fine-tuning that suit this data.
    """

    name: str = CALLED
    _target_: str | None = None
    args: Any = None
    folder: str | None = None
    calibration: int = MISSING
    search: int = MISSING
    width: float = 1.0
    image_size: int | None = None
    finetune_epochs: float = MISSING


@dataclass
class RecipeConfig:
    """How the dense network is trained, see ``amc.training.sgd.Recipe``."""

    epochs: int = MISSING
    lr: float = 0.1
    batch_size: int = 128
    weight_decay: float = 5e-4
    shift: int = 2
    flip: bool = True
    bf16: bool = False


@dataclass
class FinetuneConfig:
    """How pruned networks are fine-tuned.

    Attributes:
        epochs: passes over the train split, or a part of one, in every stage; 0 for none.
        top_k: trials that are fine-tuned; the best of them on the search split wins.
        lr_factor: learning rate as a fraction of training's.
    """

    epochs: float = MISSING
    top_k: int = 3
    lr_factor: float = 0.1


@dataclass
class TrainConfig:
    """A run of ``amc.train``.

    Attributes:
        name: folder under ``outputs``.
        model: the network.
        data: the data.
        train: how the network is trained.
        seed: fixes the search and the order of fine-tuning.
        dense_seed: fixes splits and the training of the dense network, so that all seeds search the same network.
        device: torch device; ``auto`` for cuda where there is one.
        threads: CPU threads of torch; none for torch's own choice.
        cache_dir: where trained networks and downloads are kept; none for the user's cache folder.
    """

    name: str = "default"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: RecipeConfig = field(default_factory=RecipeConfig)
    seed: int = 0
    dense_seed: int = 0
    device: str = "auto"
    threads: int | None = None
    cache_dir: str | None = None


@dataclass
class SearchConfig(TrainConfig):
    """A run of ``amc.search``.

    Attributes:
        policy: the search policy, built by its ``_target_``.
        granularity: what is removed.
        m: consecutive weights of which some stay, for ``granularity=n_m``.
        vector_size: inputs of one vector in layers whose kernels have one element, for ``granularity=vector``.
        criterion: what ranks the units of a layer.
        curvature: what ``criterion=obd`` goes by.
        resource: what the target limits.
        target: fraction of the dense network's resource that may be kept.
        stages: how often to search, prune and fine-tune on the way to the target, see ``amc.run.stages``.
        constraint: how the target is met.
        reward: what an episode is worth.
        episodes: strategies that may be scored, in every stage.
        min_keep: smallest keep ratio of a layer.
        round_to: kept channels are multiples of this; none for a choice by the layer's size.
        ignore: layers that keep everything.
        reconstruct: repair networks with fewer channels by least squares.
        adaptive_bn: calibration images that batch norm statistics are measured anew on; 0 for none.
        scoring: how many images of the search split a trial is scored on.
        precision: what candidates run in; fine-tuned networks are always scored in float32.
        overwrite: replace another run in the same folder, instead of going on with it or refusing.
        finetune: what happens to the best trials.
        export: further formats of the pruned network.
        tracker: where the run is reported to beside its folder, built by its ``_target_``; none for nowhere.
    """

    policy: Any = MISSING
    granularity: Granularity = Granularity.channel
    m: int = 4
    vector_size: int = 4
    criterion: Criterion = Criterion.l1
    curvature: Curvature = Curvature.fisher
    resource: Resource = Resource.flops
    target: float = 0.5
    stages: int = 1
    constraint: Constraint = Constraint.rescale
    reward: Reward = Reward.accuracy
    episodes: int = 150
    min_keep: float = 0.1
    round_to: int | None = None
    ignore: list[str] = field(default_factory=list)
    reconstruct: bool = True
    adaptive_bn: int = 500
    scoring: Scoring = Scoring.full
    precision: Precision = Precision.auto
    overwrite: bool = False
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    export: list[Export] = field(default_factory=list)
    tracker: Any = None


def register_schemas() -> None:
    """Make the schemas known to Hydra under the names that conf/search.yaml and conf/train.yaml list."""
    for name, resolver in (("last_part", last_part), ("folder_name", folder_name), ("folder_path", folder_path)):
        OmegaConf.register_new_resolver(name, resolver, replace=True)
    store = ConfigStore.instance()
    store.store(name="search_schema", node=SearchConfig)
    store.store(name="train_schema", node=TrainConfig)
