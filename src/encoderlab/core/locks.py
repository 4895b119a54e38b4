"""Locks that let one process at a time use a folder: the output of a study, or a run inside it.

The lock is flock(2) on FOLDER/.lock, so the system releases it when the process ends, in whatever way. The content of
the file (host, process, command, start) is used only in the message of a second process. On a file system without such
locks, encoderlab warns once and continues.

NFS (Linux, v3 with lockd or v4) passes flock on to the server, so the lock also holds between hosts; a host that
crashes keeps it until its lease ends, about a minute and a half. Mounts with `nolock` or `local_lock=flock` lock
within one host only.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shlex
import socket
import sys
import time
from collections.abc import Generator, Sequence
from datetime import datetime
from pathlib import Path

from encoderlab.core.errors import InputError
from encoderlab.core.files import one_line, remove_parts

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

NAME = ".lock"

log = logging.getLogger(__name__)


@contextlib.contextmanager
def hold(folder: Path, *, advice: str, inner: Sequence[str] = (), wait: float = 0.0) -> Generator[None]:
    """Hold the lock of a folder, which is created if needed. Removes half-written files of killed processes.

    Args:
        folder: the folder to lock.
        advice: what the user can do if another process holds the lock; the end of the error message.
        inner: glob patterns of subfolders that the lock covers too.
        wait: seconds to wait for another holder before the error.

    Raises:
        InputError: another process holds the lock, or the folder is not writable.
    """
    with one_line(folder / NAME):
        folder.mkdir(parents=True, exist_ok=True)
        file = _lock(folder, advice, time.monotonic() + wait)
    try:
        for place in (folder, *(one for pattern in inner for one in folder.glob(pattern))):
            remove_parts(place)
        yield
    finally:
        if file is not None:
            with contextlib.suppress(OSError):  # a file system that became read-only
                (folder / NAME).unlink()  # before the release, so it cannot be a newer lock file
            os.close(file)


def _lock(folder: Path, advice: str, deadline: float) -> int | None:
    """Return the descriptor of the locked file, or None if the file system has no locks."""
    path = folder / NAME
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        mine = False
        try:
            held = _try(file, path)
            if held and _same(file, path):
                os.ftruncate(file, 0)
                os.write(file, json.dumps(_self()).encode())
                mine = True
                return file
            said = os.pread(file, 10_000, 0)
        finally:
            if not mine:  # closing releases the lock
                os.close(file)
        if held is None:
            return None
        if held:
            continue  # the last holder removed the file after we opened it
        if time.monotonic() >= deadline:
            raise InputError(f"{folder}: in use by {_holder(said)}; {advice}")
        time.sleep(0.05)


def _try(file: int, path: Path) -> bool | None:
    """Return whether the lock could be taken, or None if the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if error.errno in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL):
            _warn(path.parent, os.fstat(file).st_dev)
            return None
        raise


_warned: set[int] = set()


def _warn(folder: Path, device: int) -> None:
    """Warn once per file system, because every run of a study takes a lock."""
    if device not in _warned:
        _warned.add(device)
        log.warning("%s: this file system has no locks; do not run a second command on this folder", folder)


def _same(file: int, path: Path) -> bool:
    """Return whether the path still names the file that we opened."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _self() -> dict[str, object]:
    """Describe this process for the lock file."""
    program = "encoderlab" if Path(sys.argv[0]).stem in ("encoderlab", "__main__") else sys.argv[0]
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "command": shlex.join([program, *sys.argv[1:]]),
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
    }


def _holder(said: bytes) -> str:
    """Describe the holder of a lock from the content of its file."""
    try:
        about = json.loads(said)
        command = " ".join(str(about["command"]).split())
        command = command if len(command) <= 120 else f"{command[:117]}..."
        return f"`{command}` (process {about['process']} on {about['host']}, since {about['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process, which has just started"
