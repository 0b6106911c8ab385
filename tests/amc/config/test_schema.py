from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from amc.config.composing import SCHEMAS, configured, register_schemas
from amc.config.conf_folder import CONF
from amc.config.identity import run_settings
from amc.config.overrides import with_own_choices
from amc.config.policies import policy_names
from amc.config.schema import SearchConfig, TrainConfig
from amc.config.validation import validate
from amc.errors import ConfigError, UserError
from amc.run.plan import make_policy
from amc.tracking.make import make_tracker
from amc.zoo.data.registry import DATASETS
from amc.zoo.models.registry import LIBRARIES, MODELS
from envs.engine.settings import ScoringSettings
from envs.workers.settings import WorkersSettings

NEEDED = {
    "custom": ["model._target_=my_package.build_net"],
    "timm": ["model.name=mobilenetv2_100"],
    "torchvision": ["model.name=resnet18"],
}
NEEDED_OF_DATA = {"custom": ["data._target_=my_package.make_splits"]}


def choices(group: str) -> list[str]:
    return sorted(path.relative_to(CONF / group).with_suffix("").as_posix() for path in (CONF / group).rglob("*.yaml"))


def composed(*overrides: str, name: str = "search") -> TrainConfig:
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return configured(compose(name, list(overrides)), SCHEMAS[name])


def searching(*overrides: str) -> SearchConfig:
    cfg = composed(*overrides)
    assert isinstance(cfg, SearchConfig)
    return cfg


def test_the_defaults_are_the_documented_ones() -> None:
    cfg = composed()
    assert isinstance(cfg, SearchConfig)
    assert (cfg.model.name, cfg.data.name, cfg.target, cfg.episodes, cfg.seed) == ("mobilenet", "digits", 0.5, 150, 0)
    assert cfg.policy["_target_"] == "amc.agent.policy.AMC"
    validate(cfg)


def test_a_list_of_resources_is_a_target_and_further_limits() -> None:
    cfg = searching(*with_own_choices(["resource=[flops,latency]", "target=[0.5, 0.6]"]))
    assert (cfg.resource, cfg.target, cfg.limits, cfg.needs_table) == ("flops", 0.5, {"latency": 0.6}, True)
    validate(cfg)


@pytest.mark.parametrize(
    "asked",
    ["resource=[flops,latency]", "resource=[flops,latency] target=[0.5]", "target=[0.5,0.6]", "resource=[] target=[]"],
)
def test_as_many_targets_as_resources(asked: str) -> None:
    with pytest.raises(ConfigError, match="must be a target for each of some resources"):
        with_own_choices(asked.split())


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("latency=1.5", "limits.latency=1.5: must be above 0"),
        ("flops=0.5", "another than resource=flops"),
        ("time=0.5", "limits.time: must be one of"),
    ],
)
def test_a_limit_is_checked(limit: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        searching(f"+limits.{limit}")


def pairs() -> Iterator[Any]:
    """Every model and every data set: a model with two of them, and slowly with all."""
    data_sets = choices("data")
    for number, model in enumerate(choices("model")):
        for place, data in enumerate(data_sets):
            often = (place - number) % len(data_sets) in (0, 2)
            yield pytest.param(data, model, marks=() if often else pytest.mark.slow)


@pytest.mark.parametrize(("data", "model"), list(pairs()))
def test_every_model_goes_with_every_data_set(model: str, data: str) -> None:
    for name in ("search", "train"):
        validate(
            composed(f"model={model}", f"data={data}", *NEEDED.get(model, ()), *NEEDED_OF_DATA.get(data, ()), name=name)
        )


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_composes(experiment: str) -> None:
    validate(composed(f"experiment={experiment}"))


def test_every_registered_name_can_be_chosen() -> None:
    assert choices("model") == sorted([*MODELS, *LIBRARIES, "custom"])
    assert choices("data") == sorted([*DATASETS, "custom"])


def test_the_large_data_set_gets_the_full_network() -> None:
    assert composed("data=fashion_mnist").model.width == 1.0
    assert composed("data=digits").model.width < 1.0
    assert composed("data=digits", "model.width=0.75").model.width == 0.75


def test_finetuning_follows_the_data_unless_told() -> None:
    cfg = composed("data=fashion_mnist")
    assert isinstance(cfg, SearchConfig)
    assert cfg.finetune.epochs == cfg.data.finetune_epochs
    told = composed("finetune.epochs=7")
    assert isinstance(told, SearchConfig)
    assert told.finetune.epochs == 7


def test_the_seed_reaches_the_policy() -> None:
    cfg = composed("policy=random", "seed=5")
    assert isinstance(cfg, SearchConfig)
    assert cfg.policy["seed"] == 5


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("seed=-1", ConfigError),
        ("threads=0", ConfigError),
        ("stages=0", ConfigError),
        ("stages=17", ConfigError),
        ("min_keep=0", ConfigError),
        ("min_keep=nan", ConfigError),
        ("round_to=0", ConfigError),
        ("m=1", ConfigError),
        ("vector_size=0", ConfigError),
        ("model.width=-1", ConfigError),
        ("train.lr=0", ConfigError),
        ("train.batch_size=1", ConfigError),
        ("finetune.top_k=0", ConfigError),
        ("data.image_size=100000", ConfigError),
        ("data.mean=[0.5]", ConfigError),
        ("+model.depth=20", ConfigError),
        ("target=nan", ConfigError),
        ("target=-0.5", ConfigError),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(override: str, error: type[UserError]) -> None:
    with pytest.raises(error, match=override.lstrip("+").partition("=")[0]):
        validate(composed(override))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["granularity=element", "criterion=bn_scale"], "criterion=bn_scale ranks channels"),
        (["granularity=n_m", "criterion=apoz"], "granularity=n_m goes with l1, l2, obd, taylor, random"),
        (["granularity=kernel", "round_to=8"], "round_to=8: must be null: it goes with granularity=channel"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(overrides: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        validate(composed(*overrides))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("policy", policy_names())
def test_a_policy_lists_its_settings_with_their_defaults(policy: str) -> None:
    cfg = composed(f"policy={policy}", "seed=5")
    assert isinstance(cfg, SearchConfig)
    built: Any = make_policy(cfg)
    assert is_dataclass(type(built))
    assert {field.name for field in fields(built)} == set(cfg.policy) - {"_target_"}
    assert built == (type(built)(seed=5) if "seed" in cfg.policy else type(built)())


def test_pareto_brings_its_constraint_along_and_refuses_another() -> None:
    cfg = composed("policy=pareto")
    assert isinstance(cfg, SearchConfig)
    assert cfg.constraint == "bound"
    make_policy(cfg)
    with pytest.raises(ConfigError, match="constraint=rescale: ParetoSearch needs constraint=bound"):
        make_policy(searching("policy=pareto", "constraint=rescale"))


@pytest.mark.parametrize("tracker", sorted(set(choices("tracker")) - {"none"}))
def test_a_tracker_lists_its_settings_with_their_defaults(tracker: str) -> None:
    cfg = composed(f"tracker={tracker}")
    assert isinstance(cfg, SearchConfig)
    validate(cfg)
    built: Any = make_tracker(cfg.tracker)
    assert is_dataclass(type(built))
    assert {field.name for field in fields(built)} == set(cfg.tracker) - {"_target_"}
    assert built == type(built)()


def test_a_run_is_not_tracked_unless_asked() -> None:
    cfg = composed()
    assert isinstance(cfg, SearchConfig)
    assert cfg.tracker is None


@pytest.mark.parametrize("reward", ["loss", "divergence"])
def test_a_race_is_for_accuracy(reward: str) -> None:
    searching(f"reward={reward}")
    with pytest.raises(ConfigError, match=f"scoring=racing needs reward=accuracy: reward={reward}"):
        searching(f"reward={reward}", "scoring=racing")


def test_workers_have_what_goes_with_their_kind() -> None:
    assert searching().workers == WorkersSettings()
    assert searching("workers=local").workers == WorkersSettings("local", 2)
    assert searching("workers=ray", "workers.n=8", "workers.gpus=0.25").workers == WorkersSettings("ray", 8, 1, 0.25)
    with pytest.raises(ConfigError, match=r"^workers\.n=8: goes with workers=local or workers=ray"):
        searching("workers.n=8")
    with pytest.raises(ConfigError, match=r"^workers\.gpus: goes with workers=ray"):
        searching("workers=local", "workers.gpus=1")
    with pytest.raises(ConfigError, match="scoring=racing needs workers=none"):
        searching("scoring=racing", "workers=local")


def test_the_address_of_a_shared_study_holds_no_password_that_would_be_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STUDY", "sqlite://me:secret@host/study")
    cfg = searching("policy=optuna", "study.storage=${oc.env:STUDY}", "study.name=mine")
    validate(cfg)
    assert cfg.policy["storage"] == "sqlite://me:secret@host/study"
    asked = run_settings(cfg)
    assert (asked["policy.storage"], asked["policy.study"]) == ("${oc.env:STUDY}", "mine")
    assert "secret" not in str(asked)
    with pytest.raises(ConfigError, match="holds a password"):
        validate(searching("policy=optuna", "study.storage='sqlite://me:secret@host/study'"))
    with pytest.raises(ConfigError, match="goes with policy=optuna"):
        validate(searching("policy=random", "study.storage=sqlite://"))
    with pytest.raises(ConfigError, match="goes with stages=1"):
        searching("policy=optuna", "study.storage=sqlite://", "stages=2")
    assert "policy.storage" not in run_settings(searching("policy=optuna"))


def test_a_coreset_has_an_error_and_nothing_else_has() -> None:
    assert searching().scoring == ScoringSettings("full")
    assert searching("scoring=coreset").scoring == ScoringSettings("coreset", None)
    assert searching("scoring=coreset", "scoring.error=0.001").scoring == ScoringSettings("coreset", 0.001)
    assert searching("scoring=coreset", "reward=loss").scoring.error is None
    with pytest.raises(ConfigError, match=r"^scoring\.error=0\.001: must be null: it goes with scoring=coreset"):
        searching("scoring.error=0.001")
    with pytest.raises(ConfigError, match=r"^scoring\.error=0\.0: must be above 0, or null$"):
        searching("scoring=coreset", "scoring.error=0")


def test_a_target_by_the_accuracy_to_lose_goes_with_all_images() -> None:
    assert searching("max_drop=0.01").max_drop == 0.01
    with pytest.raises(ConfigError, match=r"^max_drop=0\.01: goes with stages=1, scoring=full"):
        searching("max_drop=0.01", "scoring=coreset")


def test_sensitivity_analysis_refuses_to_race() -> None:
    for scoring in ("full", "coreset"):
        make_policy(searching("policy=sensitivity", f"scoring={scoring}"))
    with pytest.raises(ConfigError, match="scoring=racing: SensitivityAnalysis needs scoring=full or coreset"):
        make_policy(searching("policy=sensitivity", "scoring=racing"))


def test_a_global_threshold_ranks_channels_and_weights_but_no_blocks() -> None:
    for granularity in ("channel", "element", "vector", "kernel", "n_m"):
        make_policy(searching("policy=global_threshold", f"granularity={granularity}"))
    with pytest.raises(ConfigError, match="granularity=block: GlobalThreshold needs granularity=channel or element"):
        make_policy(searching("policy=global_threshold", "granularity=block"))


@pytest.mark.parametrize("override", ["+policy.sigmoid=1", "policy.sigma=-1"])
def test_a_policy_refuses_wrong_settings(override: str) -> None:
    cfg = composed(override)
    assert isinstance(cfg, SearchConfig)
    with pytest.raises(ConfigError, match=override.lstrip("+").partition("=")[0].rpartition(".")[2]):
        make_policy(cfg)


@pytest.mark.parametrize("keys", [("policy=reconstruction",), ("policy=amc", "policy.start=reconstruction")])
def test_policies_that_go_by_the_reconstruction_error_need_reconstruction(keys: tuple[str, ...]) -> None:
    make_policy(searching(*keys))
    with pytest.raises(ConfigError, match=r"reconstruct=false: .* needs reconstruct=true"):
        make_policy(searching(*keys, "reconstruct=false"))
    make_policy(searching(*keys, "granularity=kernel"))
