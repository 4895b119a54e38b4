"""One process at a time in a folder: the lock of a study's output, and that of a run inside it.

The lock is flock(2) on FOLDER/.lock, so the system lets it go when its process ends, however it ends. What the file
says (host, process, command, since when) is only for the line that the second process prints. A file system without
such locks lends none: one warning, and the command goes on.

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
from collections.abc import Iterator, Sequence
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
def hold(folder: Path, *, advice: str, inner: Sequence[str] = (), wait: float = 0.0) -> Iterator[None]:
    """Be the only process in `folder`, which is made if need be; what a killed one left half-written is removed.

    advice: what to do about another holder, the end of the line. inner: the folders in it that belong to its holder,
    as patterns. wait: seconds to give another holder before that line. Raises InputError where another process holds
    it, or where the folder cannot be written."""
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
                (folder / NAME).unlink()  # before the lock goes: nobody else can have opened a newer one
            os.close(file)


def _lock(folder: Path, advice: str, deadline: float) -> int | None:
    """The open lock file; None where this file system has no locks."""
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
            if not mine:  # which lets the lock go
                os.close(file)
        if held is None:
            return None
        if held:
            continue  # its last holder removed this file between our opening and our locking
        if time.monotonic() >= deadline:
            raise InputError(f"{folder}: in use by {_holder(said)}; {advice}")
        time.sleep(0.05)


def _try(file: int, path: Path) -> bool | None:
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
    """Once a file system: every run of a study has a lock."""
    if device not in _warned:
        _warned.add(device)
        log.warning("%s: this file system has no locks; do not run a second command on this folder", folder)


def _same(file: int, path: Path) -> bool:
    """Whether the name still leads to the file that we opened."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _self() -> dict[str, object]:
    program = "encoderlab" if Path(sys.argv[0]).stem in ("encoderlab", "__main__") else sys.argv[0]
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "command": shlex.join([program, *sys.argv[1:]]),
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
    }


def _holder(said: bytes) -> str:
    try:
        about = json.loads(said)
        command = " ".join(str(about["command"]).split())
        command = command if len(command) <= 120 else f"{command[:117]}..."
        return f"`{command}` (process {about['process']} on {about['host']}, since {about['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process, which has just started"
