from typing import Any

import pytest

from amc.config.overrides import with_own_choices
from amc.errors import ConfigError, ModelError
from amc.zoo.targets import call_target


class Own:
    def __init__(self, num_classes: int, *, depth: int = 2, **rest: object) -> None:
        self.given = {"num_classes": num_classes, "depth": depth, **rest}

    @staticmethod
    def make() -> str:
        return "made"


def failing() -> None:
    raise RuntimeError("no disk\nand more")


def refusing() -> None:
    raise ModelError("not for me")


NUMBER = 3
OFFERED = {"num_classes": 10, "width": 0.5}


def call(name: str, args: Any = None, **more: Any) -> Any:  # noqa: ANN401
    return call_target("model", f"{__name__}.{name}", args, OFFERED, **more)


def test_a_target_gets_its_arguments_and_what_it_has_parameters_for() -> None:
    assert call("Own").given == {"num_classes": 10, "depth": 2}
    assert call("Own", {"depth": 5, "num_classes": 3, "more": 1}).given == {"num_classes": 3, "depth": 5, "more": 1}
    assert call("Own.make") == "made"
    assert call("Own", needed={"depth": 7}).given == {"num_classes": 10, "depth": 7}


@pytest.mark.parametrize(
    ("name", "args", "needed", "said"),
    [
        ("nothing", None, {}, "cannot be imported: .* has no nothing$"),
        ("Owm", None, {}, "cannot be imported: .* has no Owm; did you mean Own"),
        ("NUMBER", None, {}, "is a int, not a function"),
        ("Own", [1], {}, r"model.args=\[1\]"),
        ("failing", {"depth": 1}, {}, "unexpected keyword argument 'depth'"),
        ("failing", None, {}, "fails: RuntimeError: no disk$"),
        ("failing", None, {"pretrained": True}, "model.pretrained=True: .* no parameter 'pretrained'"),
    ],
)
def test_one_line_says_what_is_wrong_with_a_target(name: str, args: Any, needed: dict[str, Any], said: str) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError, match=said) as error:
        call(name, args, needed=needed)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["no_such_package.build", "no_such_package", "", ".."])
def test_a_path_that_leads_nowhere_is_named(path: str) -> None:
    with pytest.raises(ConfigError, match=r"model._target_=.*is it on PYTHONPATH") as error:
        call_target("model", path, None, {})
    assert "\n" not in str(error.value)


def test_what_the_users_code_refuses_is_passed_on() -> None:
    with pytest.raises(ModelError, match=r"^not for me$"):
        call("refusing")


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        (["model._target_=a.b"], ["model=custom"]),
        (["model._target_=a.b", "++data._target_=a.c", "seed=1"], ["model=custom", "data=custom"]),
        (["model=resnet20", "model._target_=a.b"], []),
        (["--config-dir", "model", "model._target_=a.b"], ["model=custom"]),
        (["model.name=mine", "data=digits"], []),
    ],
)
def test_a_target_chooses_the_group_it_belongs_to(arguments: list[str], added: list[str]) -> None:
    assert with_own_choices(arguments) == arguments + added
