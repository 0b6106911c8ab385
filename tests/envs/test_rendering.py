import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.engine.analytic import AnalyticEngine
from envs.pruning_env import PruningEnv
from envs.rendering import KEPT, NEXT, OPEN, WIDTH


def played(steps: int, mode: str) -> PruningEnv:
    env = PruningEnv(AnalyticEngine(), constraint="bound", render_mode=mode)
    env.reset()
    for _ in range(steps):
        env.step(np.array([0.5], dtype=np.float32))
    return env


@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_gymnasium_accepts_the_render_modes(mode: str) -> None:
    check_env(PruningEnv(AnalyticEngine(), render_mode=mode), skip_render_check=True)


def test_text_shows_the_layers_so_far_and_which_is_next() -> None:
    env = played(2, "ansi")
    lines = str(env.render()).splitlines()
    layers = env.engine.layers
    assert len(lines) == len(layers)
    for layer, line in zip(layers[:2], lines[:2], strict=True):
        assert line.startswith(layer.name)
        assert line.endswith(f"{layer.kept(0.5)} of {layer.units}")
    assert lines[2].endswith("next")
    assert all(line.endswith("|") for line in lines[3:])


def test_the_last_render_is_the_strategy_that_was_scored() -> None:
    env = PruningEnv(AnalyticEngine(), target=0.3, render_mode="ansi")
    env.reset()
    terminated = False
    while not terminated:
        _, _, terminated, _, info = env.step(np.array([1.0], dtype=np.float32))
    for layer, keep, line in zip(env.engine.layers, info["strategy"], str(env.render()).splitlines(), strict=True):
        assert line.endswith(f"{layer.kept(keep)} of {layer.units}")


def test_a_picture_has_a_bar_a_layer_as_wide_as_what_is_kept() -> None:
    env = played(1, "rgb_array")
    image = env.render()
    assert isinstance(image, np.ndarray)
    assert image.dtype == np.uint8
    layers = env.engine.layers
    rows = [row for row in image if (row == KEPT).all(1).any()]
    blue = (rows[0] == KEPT).all(1).sum()
    assert abs(blue - WIDTH * layers[0].kept(0.5) / max(layer.units for layer in layers)) <= 1
    assert sum((row == NEXT).all(1).any() for row in image) == len(rows)
    assert sum((row == OPEN).all(1).any() for row in image) == len(rows) * (len(layers) - 2)


def test_without_a_mode_nothing_is_drawn_and_unknown_modes_are_refused() -> None:
    assert PruningEnv(AnalyticEngine()).render() is None
    with pytest.raises(ValueError, match="render_mode='human': must be one of ansi, rgb_array"):
        PruningEnv(AnalyticEngine(), render_mode="human")
