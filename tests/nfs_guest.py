"""The first process of a Linux that runs as a process of this one: serves a folder by NFS, mounts it twice, and looks.

Started by ``tests.nfs_in_uml``; with arguments it is one of the processes that it starts itself. Two mounts stand for
two machines: they share no cache, and the server takes them for two clients, by their names and its addresses.
"""

import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

A, B, SERVED = Path("/run/a"), Path("/run/b"), Path("/run/served")
MODULES = Path("/usr/lib/uml/modules")
CLIENT_NAME = Path("/sys/module/nfs/parameters/nfs4_unique_id")
UP_AND_RUNNING = 0x41
SET_FLAGS = 0x8914
POWER_OFF = 0x4321FEDC
REPLACED = 60


def main() -> None:
    """Do what the arguments say, or begin everything."""
    if os.getpid() == 1:  # the kernel may hand on words of its own
        begin()
        return
    what, folder, *rest = sys.argv[1:]
    {"count": count, "hold": hold, "train": train, "replace": replace, "read": read}[what](Path(folder), *rest)


def count(folder: Path, times: str, lease: str = "") -> None:
    """Count up a number in a file, slowly, one process at a time."""
    from amc.store.lock import alone

    _without_locks(lease)
    number = folder / "number"
    for _ in range(int(times)):
        with alone(folder / "lock", "count"):
            before = int(number.read_text())
            time.sleep(0.002)
            number.write_text(str(before + 1))


def hold(folder: Path, lease: str = "") -> None:
    """Hold the lock until somebody ends this."""
    from amc.store.lock import alone

    if lease:
        socket.gethostname = lambda: "elsewhere"
    _without_locks(lease)
    with alone(folder / "lock", "hold"):
        print("held", flush=True)
        time.sleep(600)


def _without_locks(lease: str) -> None:
    if lease:

        def flock(*_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        import amc.store.lock

        fcntl.flock = flock
        amc.store.lock.LEASE_SECONDS = float(lease)


def train(folder: Path) -> None:
    """Fill the cache with what takes a while, unless somebody else has."""
    from amc.store.cache import filling
    from amc.store.durable_files import write_file

    path = folder / "cache/network"
    for _ in range(3):  # also where it was seen not to be there
        path.exists()
    with filling(path, "train"):
        if not path.exists():
            time.sleep(1)
            (folder / f"trained by {os.getpid()}").touch()
            write_file(path, b"weights")


def replace(folder: Path) -> None:
    """Write a file anew again and again."""
    from amc.store.durable_files import write_file

    for number in range(REPLACED):
        write_file(folder / "file", str(number % 10) * (1 + 9999 * (number % 3)))
    (folder / "done").touch()


def read(folder: Path) -> None:
    """Read a file that is written anew meanwhile, and print what was wrong."""
    from amc.store.durable_files import read_file

    wrong: list[str] = []
    reads = 0
    while not (folder / "done").exists():
        try:
            content = read_file(folder / "file").decode()
        except OSError as error:
            wrong.append(str(error))
            continue
        reads += 1
        if len(content) not in (1, 10000, 19999) or len(set(content)) != 1:
            wrong.append(f"{len(content)} bytes of {sorted(set(content))}")
    print(json.dumps({"reads": reads, "wrong": wrong[:5]}))


def begin() -> None:
    """Set everything up, look, and end this Linux."""
    try:
        set_up()
        for version in ("4.2", "3"):
            print(f"RESULT {json.dumps({'nfs': version} | looked_at(version))}", flush=True)
    except Exception as error:  # said to who waits outside
        print(f"RESULT {json.dumps({'error': repr(error)})}", flush=True)
    finally:
        if os.getpid() == 1 and "User Mode Linux" in Path("/proc/cpuinfo").read_text():
            os.sync()
            ctypes.CDLL(None).reboot(ctypes.c_uint(POWER_OFF))


def set_up() -> None:
    """Mount what the server needs, and start it."""
    os.environ |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": "/run"}
    for kind, where in (("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run"), ("tmpfs", "/var/lib/nfs")):
        do("mount", "-t", kind, kind, where)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh", b"lo", UP_AND_RUNNING))
    Path("/run/m/lib").mkdir(parents=True)
    Path("/run/m/lib/modules").symlink_to(MODULES)
    for module in ("nfsd", "nfsv3", "nfsv4"):
        do("modprobe", "-d", "/run/m", module)
    for folder in (
        A,
        B,
        SERVED,
        Path("/run/rpcbind"),
        *(Path("/var/lib/nfs") / n for n in ("v4recovery", "sm", "sm.bak")),
    ):
        folder.mkdir()
    for name in ("etab", "rmtab", "state"):
        (Path("/var/lib/nfs") / name).touch()
    do("mount", "-t", "tmpfs", "tmpfs", str(SERVED))
    do("mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd")
    do("rpcbind", "-w")
    do("rpc.statd", "--no-notify")
    do("exportfs", "-o", "rw,no_root_squash,fsid=0,insecure,no_subtree_check", f"127.0.0.0/8:{SERVED}")
    do("rpc.nfsd")
    do("rpc.mountd")


def looked_at(version: str) -> dict[str, object]:
    """Mount a version of NFS twice, and return what processes on both mounts came to."""
    options = f"nosharecache,proto=tcp,vers={version}"
    for address, place in (("127.0.0.1", A), ("127.0.0.2", B)):
        CLIENT_NAME.write_text(place.name)
        do("mount", "-t", "nfs", "-o", options, f"{address}:{'/' if version > '4' else SERVED}", str(place))
    found: dict[str, object] = {}
    for what, look in (
        ("counted with locks", partial(counted, "20")),
        ("counted with leases", partial(counted, "3", "30")),
        ("lock of the dead", taken_over),
        ("lease of the dead", partial(taken_over, "3")),
        ("trained", trained),
        ("replaced", replaced),
    ):
        found[what] = look()
        print(f"NFS {version}, {what}: {found[what]}", flush=True)
    for place in (A, B):
        do("umount", str(place))
    return found


def counted(*arguments: str) -> int:
    """Return what three processes counted to."""
    (A / "number").write_text("0")
    end([start("count", place, *arguments) for place in (A, B, A)])
    return int((A / "number").read_text())


def taken_over(*lease: str) -> bool:
    """Return whether a process waits for one on the other mount, and goes on when that is killed."""
    (A / "number").write_text("0")
    holder = start("hold", A, *lease)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    waiting = start("count", B, "1", *lease)
    time.sleep(3)
    waited = waiting.poll() is None
    holder.kill()
    holder.communicate()
    end([waiting])
    return waited and (A / "number").read_text() == "1"


def trained() -> int:
    """Return how often a network was trained that three processes needed."""
    end([start("train", place) for place in (A, B, B)])
    trainings = list(SERVED.glob("trained by *"))
    for path in (*trainings, SERVED / "cache/network"):
        path.unlink()
    return len(trainings)


def replaced() -> dict[str, object]:
    """Return how a file looked on one mount that was written anew on the other."""
    (A / "file").write_text("0")
    reading = start("read", B)
    end([start("replace", A)])
    out, _ = reading.communicate(timeout=300)
    (A / "done").unlink()
    found: dict[str, object] = json.loads(out)
    return found


def start(what: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a process of this file."""
    return subprocess.Popen(
        [sys.executable, "-P", __file__, what, str(folder), *arguments], stdout=subprocess.PIPE, text=True
    )


def end(processes: list[subprocess.Popen[str]]) -> None:
    """Wait for processes, which must end well."""
    for process in processes:
        process.communicate(timeout=300)
        assert process.returncode == 0, process.args


def do(*command: str) -> None:
    """Run a program of the system, which must end well."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
