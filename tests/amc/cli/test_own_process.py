import os
import sys
import time

import pytest

from amc.cli.own_process import hard_exits_raised, run_in_own_process
from envs.workers.lifetime import KILLED


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


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_a_process_whose_starter_is_gone_before_its_task_begins_ends_with_it() -> None:
    read, write = os.pipe()
    started = os.fork()
    if started == 0:
        try:
            run_in_own_process(lambda: time.sleep(600), parent=-1)  # nobody's number
        finally:
            os._exit(1)
    os.close(write)
    # The end of the pipe is when the last process that could write to it has ended.
    assert os.read(read, 1) == b""
    os.close(read)
    assert os.waitstatus_to_exitcode(os.waitpid(started, 0)[1]) == KILLED
