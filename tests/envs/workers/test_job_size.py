"""What a queue is asked for, from what a job is asked."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from amc.config.composing import register_schemas
from amc.config.conf_folder import CONF

pytest.importorskip("hydra_plugins.hydra_submitit_launcher")


def asked(command: str, *keys: str) -> tuple[int, int]:
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(command, ["hydra/launcher=slurm", *keys], return_hydra_config=True)
    return cfg.hydra.launcher.cpus_per_task, cfg.hydra.launcher.mem_gb


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((), (1, 4)),
        (("workers=ray", "workers.n=2", "workers.threads=3"), (6, 6)),
        # 11,000 images of 3 x 224 x 224 twice in float32: 12.3 GB.
        (("data=image_folder", "data.image_size=224", "data.calibration=1000", "data.search=10000"), (1, 16)),
    ],
)
def test_a_job_asks_for_what_it_needs(keys: tuple[str, ...], expected: tuple[int, int]) -> None:
    assert asked("search", *keys) == expected


def test_a_training_is_a_job_too() -> None:
    assert asked("train", "threads=3") == (3, 4)
