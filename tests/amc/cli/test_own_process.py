import os
import sys

import pytest

from amc.cli.own_process import hard_exits_raised


def test_a_hard_exit_is_raised_and_only_meanwhile() -> None:
    before = os._exit
    with pytest.raises(SystemExit) as raised, hard_exits_raised():
        os._exit(0)
    assert raised.value.code == 0
    assert os._exit is before


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_a_copy_of_the_process_ends_as_ever() -> None:
    with hard_exits_raised():
        child = os.fork()
        if child == 0:
            try:
                os._exit(7)
            except SystemExit:
                os.abort()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
