"""The configuration's schema: frozen dataclasses that Hydra checks names and types against, and that check ranges."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from amc.config.recipe import Finetuning, Recipe
from envs.engine.choices import SMALLER
from envs.engine.fields import Interval, OneOf, check_settings, setting
from envs.engine.plugins import is_own
from envs.engine.settings import SEEDS, EngineSettings, ScoringSettings
from envs.problem_settings import ProblemSettings
from envs.workers.settings import StudySettings, WorkersSettings

AUTO = "auto"
PROFILES = ("onnxruntime-cpu", "torch-eager", "torch-compile", "openvino", "cuda", "tensorrt")
"""Runtimes that networks are timed in, the first that is installed by default."""
EXPORTS = ("onnx", "pt2")
"""Formats beside safetensors that a pruned network can be written in."""

# One's own network or data is called as the function that makes it, unless told otherwise.
CALLED = "${last_part:${._target_}}"


@dataclass(frozen=True)
class ModelConfig:
    """A network of the zoo, or one's own.

    Attributes:
        name: in the zoo or library; for one's own, what to call it.
        _target_: dotted path of what makes one's own network, see ``amc.zoo.targets``; null for the zoo's.
        args: names and values that it is called with; null for no more than what it takes of the keys here.
        checkpoint: a trained network's weights, see ``amc.weights.checkpoint``; nothing is trained then.
        width: multiplier on every channel count.
        pretrained: start from the weights that the network's library publishes.

    Raises:
        ValueError: a value is out of range, or two do not go together.
    """

    name: str = CALLED
    _target_: str | None = None
    args: Any = None
    checkpoint: str | None = None
    width: float = setting(1.0, Interval(0, 16, low_open=True))
    pretrained: bool = False

    def __post_init__(self) -> None:
        check_settings(self)
        _check_args("model", self._target_, self.args)
        if self.pretrained and self._target_ is None:
            raise ValueError(f"pretrained=true: there are no weights of model={self.name}; model=timm has some")
        if self.pretrained and self.checkpoint is not None:
            raise ValueError("pretrained=true: must be false: model.checkpoint has all weights")


@dataclass(frozen=True)
class DataConfig:
    """A data set and how it is split.

    Attributes:
        name: in the registry; for one's own, what to call it.
        _target_: dotted path of what makes one's own data, see ``amc.zoo.data.own_splits``; null for the registry's.
        args: names and values that it is called with; null for no more than what it takes of the keys here.
        folder: where its files lie; null for where the data set looks by itself.
        calibration: images that repair pruned networks; criteria that look at gradients use their labels, too.
        search: images cut from the training set that strategies are scored on.
        width: width multiplier that suits this data, for networks made for ImageNet.
        image_size: height and width in pixels that images are brought to, for data sets without a size of their own.
        finetune_epochs: epochs of fine-tuning that suit this data.
        mean: of every colour, 0 for black and 1 for white, that is subtracted from images of bytes, as torchvision's
            ``Normalize`` has it; what a network with ``model.checkpoint`` was trained with. Null for that of the
            training images.
        std: what they are divided by then.

    Raises:
        ValueError: a value is out of range, or two do not go together.
    """

    name: str = CALLED
    _target_: str | None = None
    args: Any = None
    folder: str | None = None
    calibration: int = setting(MISSING, Interval(1))
    search: int = setting(MISSING, Interval(1))
    width: float = setting(1.0, Interval(0, 16, low_open=True))
    image_size: int | None = setting(None, Interval(1, 1024))
    finetune_epochs: float = setting(MISSING, Interval(0, 10**6))
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        if len(self.mean or ()) != len(self.std or ()) or not all(0 < each < 1e6 for each in self.std or ()):
            raise ValueError(f"mean={self.mean}: goes with as many std={self.std}, all above 0")
        _check_args("data", self._target_, self.args)


def _check_args(group: str, target: str | None, args: object) -> None:
    if args is not None and target is None:
        raise ValueError(f"args={args}: goes with {group}._target_=my_package.my_function")


@dataclass(frozen=True)
class LatencyConfig:
    """How latency is measured, for ``resource=latency``, ``round_to=auto`` and the figures of a run.

    Attributes:
        batch: images a pass.
        threads: of the runtime on the CPU.
        rounds: passes of each network that a run is timed by, at the most, each of nine times that it is loaded.
        table: a table that ``python -m amc.profile`` wrote, here or on another machine; null measures one here.

    Raises:
        ValueError: a value is out of range.
    """

    batch: int = setting(1, Interval(1, 4096))
    threads: int = setting(1, Interval(1, 1024))
    rounds: int = setting(101, Interval(11, 10_000))
    table: str | None = None

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
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
        threads: CPU threads of torch; null for torch's own choice.
        cache_dir: where trained networks and downloads are kept; null for the user's cache folder.

    Raises:
        ValueError: a value is out of range.
    """

    name: str = "default"
    model: ModelConfig = MISSING
    data: DataConfig = MISSING
    train: Recipe = MISSING
    seed: int = setting(0, SEEDS)
    dense_seed: int = setting(0, SEEDS)
    device: str = "auto"
    threads: int | None = setting(None, Interval(1, 1024))
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class SearchConfig(TrainConfig, EngineSettings, ProblemSettings):
    """A run of ``amc.search``: the keys of ``amc.train``, of the engine, of the problem, and these.

    Attributes:
        policy: the search policy, built by its ``_target_``.
        stages: how often to search, prune and fine-tune on the way to the target, see
            ``amc.run.rounds.staged_pruning``.
        scoring: how many images of the search split a trial is scored on.
        workers: who evaluates strategies.
        study: where Optuna keeps its study.
        metric: one's own measure instead of top-1 accuracy: a function of class scores and class numbers, higher is
            better, as ``my_package.balanced_accuracy``; null for accuracy.
        overwrite: replace another run in the same folder, instead of going on with it or refusing.
        finetune: what happens to the best trials.
        device_profile: the runtime whose latency counts; auto for onnxruntime-cpu where it is installed, else
            torch-eager.
        latency: how it is measured.
        runtimes: further runtimes to time the networks of the run in.
        export: further formats of the pruned network: onnx, pt2.
        tracker: where the run is reported to beside its folder, built by its ``_target_``; null for nowhere.

    Raises:
        ValueError: a value is out of range, or two do not go together.
    """

    policy: Any = MISSING
    stages: int = setting(1, Interval(1, 16))
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    workers: WorkersSettings = field(default_factory=WorkersSettings)
    study: StudySettings = field(default_factory=StudySettings)
    metric: str | None = None
    overwrite: bool = False
    finetune: Finetuning = MISSING
    device_profile: str = setting("auto", OneOf((AUTO, *PROFILES)))
    latency: LatencyConfig = field(default_factory=LatencyConfig)
    runtimes: list[str] = field(default_factory=list)
    export: list[str] = field(default_factory=list)
    tracker: Any = None

    def __post_init__(self) -> None:
        EngineSettings.__post_init__(self)
        ProblemSettings.__post_init__(self)
        if self.scoring.name == "racing" and self.reward != "accuracy":
            raise ValueError(f"scoring=racing needs reward=accuracy: reward={self.reward} is not what it races for")
        if self.scoring.name == "racing" and self.workers.name != "none":
            raise ValueError("scoring=racing needs workers=none: every candidate races against all before it")
        if self.metric is not None and not is_own("metrics", self.metric):
            raise ValueError(f"metric={self.metric}: must be null, or the path of a function, my_package.my_metric")
        if self.metric is not None and self.scoring.name != "full":
            raise ValueError(
                f"metric={self.metric}: must be null with scoring={self.scoring.name}, which counts right answers"
            )
        for wanted in self.export:
            if wanted not in EXPORTS:
                raise ValueError(f"export={wanted}: must be of {', '.join(EXPORTS)}")
        for runtime in self.runtimes:
            if runtime not in PROFILES:
                raise ValueError(f"runtimes={runtime}: must be of {', '.join(PROFILES)}")
        if self.granularity not in SMALLER and (self.needs_table or self.limited("memory_peak")):
            asked = [f"resource={each}" for each in ("latency", "memory_peak") if self.limited(each)]
            first = [*asked, f"round_to={self.round_to}"][0]
            raise ValueError(f"{first} needs granularity={', '.join(SMALLER)}, not {self.granularity}")
        if self.max_drop is not None and (self.stages > 1 or self.scoring.name != "full" or self.target != 0.5):
            raise ValueError(f"max_drop={self.max_drop}: goes with stages=1, scoring=full, and without a target")
        if self.study.storage is not None and (self.stages > 1 or self.max_drop is not None):
            raise ValueError("study.storage: goes with stages=1, and without max_drop")
        if self.latency.table is not None and not self.needs_table:
            raise ValueError("latency.table: goes with resource=latency or round_to=auto")

    @property
    def needs_table(self) -> bool:
        """Whether the search goes by a table of latencies."""
        return self.limited("latency") or self.rounds_freely
