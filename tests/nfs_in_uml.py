"""A Linux with an NFS server and client that runs as a process: user-mode-linux, as few kernels here have either."""

import ctypes
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NO_AVX = "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2_Usable,-AVX2,-AVX512F,-ERMS,-AVX_Fast_Unaligned_Load"
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x50000
PTRACE, GET_REGISTERS, XSTATE = 101, 0x4204, 0x202
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2
EINVAL = 22


def is_installed() -> bool:
    """Whether there is all that is needed, and this is who may start it."""
    programs = ("linux.uml", "rpc.nfsd", "rpc.statd", "rpcbind", "modprobe", "mount.nfs")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return (
        all(shutil.which(name, path=path) for name in programs) and os.getuid() == 0 and os.uname().machine == "x86_64"
    )


def run_guest() -> list[dict[str, object]]:
    """Run ``tests/nfs_guest.py`` as the first process of a Linux that sees the files of this one, and may not write."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *("linux.uml", "mem=700M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"uml_dir={folder}"),
            *(f"init={sys.executable}", NO_AVX, f"PYTHONPATH={ROOT}", "PYTHONDONTWRITEBYTECODE=1", "quiet", "panic=1"),
            *("con=null", "con0=null,fd:1", "--", "-P", str(ROOT / "tests/nfs_guest.py")),
        ]
        ended = subprocess.run(
            command,
            env=os.environ | {"TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1500,
            preexec_fn=_hide_wide_registers,
        )
    print(ended.stdout, ended.stderr)
    lines = [line.removeprefix("RESULT ") for line in ended.stdout.splitlines() if line.startswith("RESULT ")]
    return [json.loads(line) for line in lines]


def _hide_wide_registers() -> None:
    """Have the kernel say that it cannot tell all registers: Linux 6.1 has too little room for those of new CPUs."""
    steps = [
        (LOAD, 0, 0, 0),
        (IF_EQUAL, 0, 5, PTRACE),
        (LOAD, 0, 0, 16),
        (IF_EQUAL, 0, 3, GET_REGISTERS),
        (LOAD, 0, 0, 32),
        (IF_EQUAL, 0, 1, XSTATE),
        (RETURN, 0, 0, REFUSE | EINVAL),
        (RETURN, 0, 0, ALLOW),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(program)))
    prctl = ctypes.CDLL(None).prctl
    for arguments in ((NO_NEW_PRIVILEGES, 1, 0, 0, 0), (SECCOMP, FILTER, ctypes.addressof(described), 0, 0)):
        if prctl(*map(ctypes.c_ulong, arguments)) != 0:
            raise OSError("no filter of system calls")
