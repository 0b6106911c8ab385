"""Locks, leases, renames and the cache on a real NFS: two mounts that share no cache, in versions 4.2 and 3."""

import pytest
from nfs_in_uml import is_installed, run_guest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="needs user-mode-linux, nfs-kernel-server and kmod, and root"),
]


def test_what_holds_on_a_disk_holds_between_machines_that_share_one() -> None:
    found = run_guest()
    assert [each.get("nfs") for each in found] == ["4.2", "3"], found
    for each in found:
        assert each["counted with locks"] == 60, each
        assert each["counted with leases"] == 9, each
        assert each["lock of the dead"] is True, each
        assert each["lease of the dead"] is True, each
        assert each["trained"] == 1, each
        replaced = each["replaced"]
        assert isinstance(replaced, dict)
        assert replaced["reads"] > 10, each
        assert replaced["wrong"] == [], each
