"""Starts a command that sees nothing but what it is given: files by Landlock, the network by a namespace of its own.

    python isolate.py --read PATH ... --write PATH ... -- COMMAND ...

It is run as a file, by its path, and imports nothing of the kit: a fresh process in a few hundredths of a second. What
the kernel allows is used (Landlock since Linux 5.13, TCP by it since 6.7; a network namespace needs user namespaces);
where it allows no Landlock, exit code 125 says so and nothing is started. A process that ran before, and answers by
a socket file, is not kept out.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NOT_ISOLATED = 125
"""Exit code where the kernel has no Landlock."""
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/proc", "/sys")
"""Folders that every program needs to start, to be read."""
DEVICES = ("null", "zero", "full", "random", "urandom", "shm", "nvidia*", "dri")
"""Of /dev, to be read and written."""
LARGEST_FILE = 1 << 36

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_READ = 1 << 0 | 1 << 2 | 1 << 3
_FILE_ONLY = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14
_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
"""Kinds of access to files that a version of Landlock knows; later ones add ioctl, which CUDA needs."""
_TCP, _SCOPES = 3, 3
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_NO_NEW_PRIVILEGES = 38
_libc = ctypes.CDLL(None, use_errno=True)


def landlock() -> int:
    """Return the version of Landlock that the kernel has, 0 where it has none."""
    return max(0, _libc.syscall(_CREATE, None, 0, 1))


def confine(read: Sequence[str], write: Sequence[str]) -> None:
    """Let this process, and all that it starts, see these files and folders alone, and no network.

    Raises:
        OSError: the kernel refuses.
    """
    version = landlock()
    handled = _BY_VERSION[min(version, max(_BY_VERSION))]
    fields = [handled] + [_TCP] * (version >= 4) + [_SCOPES] * (version >= 6)
    attributes = struct.pack(f"{len(fields)}Q", *fields)
    # A namespace first: within Landlock there is no way to one. As root it needs no user namespace of its own.
    if _libc.unshare(_NEW_NET) != 0:
        _libc.unshare(_NEW_USER | _NEW_NET)
    rules = _done(_libc.syscall(_CREATE, attributes, len(attributes), 0))
    for paths, access in ((read, _READ), (write, handled)):
        for path in paths:
            _allow(rules, path, access & handled)
    _done(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _done(_libc.syscall(_RESTRICT, rules, 0))
    os.close(rules)


def _allow(rules: int, path: str, access: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    allowed = access if os.path.isdir(path) else access & _FILE_ONLY  # noqa: PTH112  starts without pathlib's parts
    _done(_libc.syscall(_ADD, rules, 1, struct.pack("=Qi", allowed, handle), 0))
    os.close(handle)


def _done(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@functools.cache
def isolation() -> str:
    """Return how far commands are isolated on this machine, in words; "" where they cannot be."""
    if not landlock():
        return ""
    words = [sys.executable, "-S", __file__, "--read", sys.base_prefix, "--read", sys.prefix, "--"]
    looks = [sys.executable, "-S", "-c", "import socket; print(len(socket.if_nameindex()))"]
    seen = subprocess.run([*words, *looks], capture_output=True, text=True, check=False)
    if seen.returncode:
        return ""
    return "Landlock, no network" if seen.stdout.strip() == "1" else f"Landlock {landlock()}"


def told() -> str:
    """Return the same, to stand behind what was examined."""
    return f"isolated ({isolation()})" if isolation() else "not isolated"


def devices() -> list[str]:
    """Return the devices that programs may use."""
    return [str(path) for pattern in DEVICES for path in Path("/dev").glob(pattern)]


def main() -> None:
    """Confine this process and become the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--read", action="append", default=[])
    parser.add_argument("--write", action="append", default=[])
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    if not landlock():
        sys.exit(NOT_ISOLATED)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))  # of each process; CUDA's addresses do not count
    confine([*SYSTEM, *given.read], [*devices(), *given.write])
    os.execvp(given.command[0], given.command)


if __name__ == "__main__":
    main()
