from dataclasses import replace

from amc.config.identity import run_settings
from amc.config.recipe import Finetuning, Recipe
from amc.config.schema import DataConfig, ModelConfig, SearchConfig
from envs.engine.settings import ScoringSettings
from envs.workers.settings import WorkersSettings

CFG = SearchConfig(
    model=ModelConfig("plain20"),
    data=DataConfig("digits", folder="/home/somebody/digits", calibration=100, search=200, finetune_epochs=1),
    train=Recipe(epochs=1),
    finetune=Finetuning(epochs=1),
    policy={"_target_": "somewhere.Policy", "seed": 3, "sigma": 0.5},
    ignore=("first", "last"),
)


def test_settings_are_named_as_on_the_command_line() -> None:
    settings = run_settings(CFG)
    asked = {"constraint": "rescale", "episodes": 150, "finetune.epochs": 1, "policy.sigma": 0.5, "round_to": None}
    assert {name: settings[name] for name in asked} == asked
    assert settings["ignore"] == "first,last"


def test_where_and_with_which_seed_a_run_was_made_is_not_asked() -> None:
    elsewhere = replace(
        CFG, name="other", seed=7, device="cuda", threads=4, cache_dir="elsewhere", policy=CFG.policy | {"seed": 7}
    )
    elsewhere = replace(elsewhere, tracker={"_target_": "somewhere.Tracker", "mode": "online"})
    assert run_settings(elsewhere) == run_settings(CFG)
    assert "somebody" not in str(run_settings(CFG))


def test_where_strategies_are_evaluated_is_not_asked_but_how_far_ahead_policies_ask_is() -> None:
    local, ray = (replace(CFG, workers=WorkersSettings(name, 3, threads=2)) for name in ("local", "ray"))
    assert run_settings(local) == run_settings(ray) == run_settings(CFG)  # its policy never asks ahead
    asking = replace(CFG, policy=CFG.policy | {"at_once": None})
    assert run_settings(asking) == run_settings(replace(CFG, policy=CFG.policy | {"at_once": 1})) == run_settings(CFG)
    with_three = run_settings(replace(asking, workers=local.workers))
    assert with_three == run_settings(replace(CFG, policy=CFG.policy | {"at_once": 6}))
    assert with_three["policy.at_once"] == 6
    fixed = replace(CFG, policy=CFG.policy | {"at_once": 1}, workers=local.workers)
    assert run_settings(fixed) == run_settings(CFG)


def test_a_run_of_one_stage_is_asked_what_runs_of_before_there_were_stages_were() -> None:
    assert "stages" not in run_settings(CFG)
    assert run_settings(replace(CFG, stages=3))["stages"] == 3


def test_what_changes_the_search_changes_the_settings() -> None:
    assert run_settings(replace(CFG, constraint="bound")) != run_settings(CFG)
    assert run_settings(replace(CFG, policy=CFG.policy | {"sigma": 0.1})) != run_settings(CFG)


def test_scoring_is_one_setting_as_in_runs_of_before_there_was_a_coreset_and_its_error_another() -> None:
    assert {key: value for key, value in run_settings(CFG).items() if "scoring" in key} == {"scoring": "full"}
    coreset = run_settings(replace(CFG, scoring=ScoringSettings("coreset", 0.002)))
    assert coreset == run_settings(CFG) | {"scoring": "coreset", "scoring.error": 0.002}
