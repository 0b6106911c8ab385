"""What is printed behind an export is run: it loads the file, and the outputs are those of the pruned network."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import amc
from amc.deploy.exporting import export_run
from amc.weights.loading import read_header

RUN = Path(__file__).parents[2] / "data/run_folder_0_1/plain/mobilenet-digits/amc/seed0"


@pytest.mark.parametrize("wanted", ["safetensors", pytest.param("pt2", marks=pytest.mark.slow)])
def test_the_lines_that_are_printed_load_what_was_written(wanted: str, tmp_path: Path) -> None:
    # The weights alone are loaded by the folder, which holds the file.
    written, *code, scaled = "\n".join(export_run(RUN, wanted, tmp_path)).splitlines()
    path = tmp_path / f"pruned.{wanted}"
    assert written.startswith(f"{path}: ")
    mean, deviation = (torch.tensor(float(each)) for each in re.findall(r"\[([\d.]+)\]", scaled))
    small = amc.load(RUN)
    shape = read_header(RUN).input_shape[1:]
    as_bytes = torch.randint(0, 17, (3, *shape), dtype=torch.uint8)
    names: dict[str, Any] = {"images": (as_bytes.float() - mean) / deviation}
    exec("\n".join(code), names)  # noqa: S102  what our own function printed
    expected = small(read_header(RUN).normalization(as_bytes))
    torch.testing.assert_close(names["logits"], expected, rtol=1e-3, atol=1e-3)
