"""What a command line cannot mean is refused before any work, in one line that names the key."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from amc.cli.arguments import check_arguments
from amc.cli.command import as_user_error
from amc.config.composing import SCHEMAS, composed_search, configured, register_schemas
from amc.config.conf_folder import CONF
from amc.config.overrides import with_own_choices
from amc.config.schema import SearchConfig
from amc.config.validation import validate
from amc.errors import ConfigError, UserError
from amc.measurement.device import prepare_torch
from amc.run.plan import make_policy

REFUSED = {
    "policy=amc": [
        "policy.gamma=nan",
        "policy.gamma=1.5",
        "policy.gamma=-inf",
        "policy.tau=5",
        "policy.tau=0",
        "policy.hidden=-5",
        "policy.hidden=1e9",
        "policy.hidden=2.5",
        "policy.hidden=null",
        "policy.batch_size=abc",
        "policy.batch_size=0",
        "policy.batch_size=true",
        "policy.batch_size=[1,2]",
        "policy.replay_size=-1",
        "policy.replay_size=1e20",
        "policy.warm_up=nan",
        "policy.warm_up=2",
        "policy.sigma=nan",
        "policy.sigma=-0.1",
        "policy.sigma_end=0.9",
        "policy.sigma_end=0",
        "policy.actor_lr=inf",
        "policy.critic_lr=-1",
        "policy.imitation=nan",
        "policy.elites=0",
        "policy.start=best",
        "policy.normalize=perhaps",
        "policy.baseline_decay=1",
        "policy.seed=-1",
        "policy.seed=1.5",
        "+policy.nothing=1",
        "policy._target_=amc.agent.policy.Nobody",
        "policy._target_=builtins.dict",
        "policy._target_=5",
    ],
    "policy=td3": ["policy.lr=nan", "policy.policy_delay=0", "policy.target_noise=-1", "policy.target_clip=nan"],
    "policy=sac": ["policy.lr=0", "policy.entropy=nan", "policy.entropy=0", "policy.target_entropy=inf"],
    "policy=optuna": ["policy.sampler=cma", "policy.seed=-1", "policy.seed=1e20", "policy.tell_executed=2"],
    "policy=random": ["policy.seed=-1", "policy.seed=abc"],
    "policy=pareto": ["policy.seed=-1", "constraint=rescale"],
    "policy=reconstruction": ["policy.step=nan", "policy.step=0", "policy.local_search=abc", "policy.seed=-3"],
    "policy=sensitivity": ["policy.probing=1", "policy.probing=nan", "policy.watch=all", "policy.refine=7"],
    "policy=global_threshold": ["policy.normalize=max", "policy.normalize=3"],
    "policy=uniform": [
        "device=meta",
        "device=abacus",
        "device=cuda:99",
        "threads=1000000",
        "threads=-1",
        "threads=1e20",
        "episodes=1e20",
        "episodes=100000000000000000000",
        "episodes=nan",
        "episodes=0",
        "seed=1.5",
        "target=abc",
        "target=0",
        "criterion=l7",
        "+episode=3",
        "target=null",
        "min_keep=inf",
        "min_keep=${nowhere}",
        "target=${min_keep",
        "finetune.epochs=inf",
        "finetune.epochs=1e20",
        "finetune.lr_factor=nan",
        "train.epochs=1e20",
        "train.lr=nan",
        "stages=1e3",
        "data=0",
        "data=null",
        "model=0",
        "model=null",
        "model=true",
        "tracker=true",
        "tracker=0",
        "policy=0",
        "policy=null",
        "policy=true",
        "experiment=0",
        "export=[zip]",
        "export=7",
        "ignore=7",
        "criterion=0",
        "nothing=1",
        "finetune=0",
        "train=null",
        "model.args={a:1}",
        "tracker={_target_:builtins.dict}",
        "data=digits,0",
        "--foo=1",
        "--cfg=everything",
    ],
}
CASES = [(group, override) for group, overrides in REFUSED.items() for override in overrides]


def up_to_the_search(arguments: list[str]) -> None:
    """Everything that a run does before it reads data."""
    check_arguments(arguments)
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = configured(compose("search", with_own_choices(arguments)), SCHEMAS["search"])
    assert isinstance(cfg, SearchConfig)
    validate(cfg)
    make_policy(cfg)
    prepare_torch(cfg)


@pytest.mark.parametrize(("group", "override"), CASES)
def test_what_cannot_be_meant_is_refused_by_name(group: str, override: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011  what it is told apart by comes next
        up_to_the_search([group, override])
    known = as_user_error(raised.value)
    assert type(known) is not UserError, f"called a bug: {known}"
    key = override.lstrip("+").partition("=")[0]
    assert key in str(known)
    assert len(str(known).splitlines()) == 1


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("targte=0.3", "unknown key targte; did you mean target?; --help lists all"),
        ("policy.warmup=0.2", "unknown key policy.warmup; did you mean policy.warm_up?; --help lists all"),
        ("finetune.epoch=1", "unknown key finetune.epoch; did you mean finetune.epochs?; --help lists all"),
        ("nonsense=1", "unknown key nonsense; --help lists all"),
        ("constraint=rescal", "constraint=rescal: must be one of bound, rescale; did you mean rescale?"),
        ("target=1.5", "target=1.5: must be above 0, at most 1"),
        ("name=Größe", "cannot read 'name=Größe': letters beyond a to z need quotes, \"name='Größe'\""),
    ],
)
def test_the_key_that_was_meant_is_named(argument: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        composed_search([argument])
    assert str(refused.value) == said


@pytest.mark.parametrize(("argument", "said"), [("=3", "cannot read '=3'"), ("hydra/launcher=none", "basic")])
def test_what_is_no_choice_of_ours_is_refused_too(argument: str, said: str) -> None:
    with pytest.raises(Exception, match=said) as raised:
        up_to_the_search([argument])
    assert type(as_user_error(raised.value)) is ConfigError
    assert said in str(as_user_error(raised.value))


def test_the_choice_that_was_meant_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^model=resnet21: must be one of .*; did you mean resnet20\?$"):
        composed_search(["model=resnet21"])


def test_a_policy_of_ones_own_takes_any_argument_and_no_other_does() -> None:
    cfg = composed_search(["policy._target_=my_agents.Mine", "policy.depth=3", "seed=4"])
    assert cfg.policy == {"_target_": "my_agents.Mine", "depth": 3}
    with pytest.raises(ConfigError, match=r"unknown key policy\.depth"):
        composed_search(["policy.depth=3"])


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("target=half", "target=half: must be a number"),
        ("episodes=1.5", "episodes=1.5: must be a whole number"),
        ("export=onnx", "export=onnx: must be a list, with brackets: [a,b]"),
        ("model.pretrained=maybe", "model.pretrained=maybe: must be true or false"),
        ("seed=null", "seed=null: must not be null"),
        ("name=[a,b]", "name=[a,b]: must be one value"),
    ],
)
def test_a_value_of_another_kind_is_refused_in_the_words_of_the_command_line(argument: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        composed_search([argument])
    assert str(refused.value) == said
