"""What ``amc.profile`` packs for another machine: every layer of a network, whichever of its parts may go."""

import json
import zipfile
from pathlib import Path

import pytest

from amc.errors import ConfigError
from amc.profile import main

pytest.importorskip("onnxruntime")


def test_blocks_may_go_and_keys_may_stand_behind_options(tmp_path: Path) -> None:
    path = tmp_path / "phone.pyz"
    main(["model=resnet20", "--ask", str(path), "data=digits", "model.width=0.25", "granularity=channel_block"])
    with zipfile.ZipFile(path) as packed:
        request = json.loads(packed.read("amc/request.json"))
    # A ResNet-20 is 19 convolutions, two of shortcuts, and a classifier; networks without blocks are another graph.
    assert {len(variant["layers"]) for variant in request["variants"]} == {19 + 2 + 1}


def test_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^granularity: must be of block, channel, channel_block"):
        main(["model=resnet20", "granularity=kernel", "--table", str(tmp_path / "table.json")])
