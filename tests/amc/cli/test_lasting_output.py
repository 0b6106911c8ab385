import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs a disk that is always full")
CODE = """
import sys
from amc.cli.lasting_output import keep_on_without
keep_on_without("stdout")
keep_on_without("stderr")
for number in range(2):
    print(number, flush=True)
    print("error", number, file=sys.stderr, flush=True)
sys.exit(3)
"""


@pytest.mark.parametrize(
    ("full", "said"),
    [
        ("stdout", "stdout cannot be written (No space left on device): going on; the log is in the run's folder\n"),
        ("stderr", ""),
    ],
)
def test_a_process_goes_on_where_its_output_cannot_be_written(full: str, said: str) -> None:
    with FULL.open("w") as nowhere:
        out, err = (nowhere if full == name else subprocess.PIPE for name in ("stdout", "stderr"))
        command = [sys.executable, "-c", CODE]
        ended = subprocess.run(command, stdout=out, stderr=err, text=True, cwd=Path(__file__).parents[3])
    # Python ends with 120 where it cannot flush at the end.
    assert ended.returncode == 3
    if full == "stdout":
        first, *rest = ended.stderr.splitlines()
        assert f"{first}\n" == said
        assert rest == ["error 0", "error 1"]
    else:
        assert ended.stdout.split() == ["0", "1"]
