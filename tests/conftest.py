import signal
from pathlib import Path

import pytest
import torch

# The tests' networks are so small that a second thread only costs, and on a busy machine twenty times as much.
torch.set_num_threads(1)

# Shells start what runs in the background with SIGINT ignored, and what tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DEAREST = (
    "tests/test_cli.py",
    "tests/amc/run/test_damage.py",
    "tests/amc/run/test_going_on.py",
    "tests/test_bring_your_own.py",
    "tests/test_wheel.py",
    "tests/test_reliability.py",
    "tests/test_trackers.py",
    "tests/docs/test_code_blocks.py",
    "tests/test_stages.py",
    "tests/test_benchmarks.py",
)
"""Files of few tests that take long: they begin, so that no worker is left alone with one at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the dearest files first; ``--no-loadscope-reorder`` keeps them there."""
    places = {config.rootpath / name: place for place, name in enumerate(DEAREST)}
    items.sort(key=lambda item: places.get(Path(item.path), len(places)))
