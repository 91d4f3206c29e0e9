"""Which files of a folder any process opens, as the Linux kernel tells it: no co-operation of the watched is needed."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from isckit.types import BadInput

_OPEN, _IS_FOLDER, _OVERFLOW = 0x20, 0x40000000, 0x4000
_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 20


class Watch:
    """inotify(7) on some folders, between entering and leaving the block."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.opened: set[Path] = set()
        """Files opened for reading or writing; complete after the block."""

    def __enter__(self) -> Watch:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._handle < 0:
            raise _refused()
        self._places = {}
        for folder in self.folders:
            number = libc.inotify_add_watch(self._handle, os.fsencode(folder), _OPEN)
            if number < 0:
                os.close(self._handle)
                raise _refused()
            self._places[number] = folder
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # The kernel keeps up to fs.inotify.max_queued_events, 16,384 by default: far more than the few files watched.
        try:
            while True:
                self._read(os.read(self._handle, _BUFFER))
        except BlockingIOError:
            return
        finally:
            os.close(self._handle)

    def _read(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
            at += _EVENT.size + length
            if mask & _OVERFLOW:
                raise BadInput(
                    seen="more files opened than the kernel keeps in mind",
                    allowed="at most fs.inotify.max_queued_events in one experiment",
                    remedy="take a smaller sample",
                )
            if name and not mask & _IS_FOLDER:
                self.opened.add(self._places[number] / os.fsdecode(name))


def _refused() -> BadInput:
    return BadInput(
        seen=f"inotify: {os.strerror(ctypes.get_errno())}",
        allowed="a Linux kernel that lets files be watched (fs.inotify limits)",
        remedy="raise fs.inotify.max_user_watches, or check with --sample 0",
    )
