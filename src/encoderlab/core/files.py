"""Paths, and atomic writing: after a kill or a full disk, a file is either the old one or the new one."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError

from encoderlab.core.errors import InputError

PART = "part"  # the ending of a file that is being written


def cache_folder() -> Path:
    """Return the cache folder: $ENCODERLAB_CACHE, else $XDG_CACHE_HOME/encoderlab, else ~/.cache/encoderlab."""
    if own := os.environ.get("ENCODERLAB_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "encoderlab"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name, then rename it. After a power cut, the old or the new file is there.

    The content is on the disk before the function returns.

    Args:
        path: the file; its folder is created if needed.
        write: writes the content to the temporary path that it gets.

    Raises:
        InputError: the disk is full, or the folder is not writable.
    """
    # Other processes, on other machines too, may write the same file at the same time.
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.{PART}")
    with one_line(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.touch()
            usual = beside.stat().st_mode  # safetensors makes files that only their owner may read
            write(beside)
            beside.chmod(usual)
            _to_disk(beside)
            os.replace(beside, path)
            _to_disk(path.parent)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some systems cannot flush a folder
            raise
    finally:
        os.close(file)


def remove_parts(folder: Path, *, older: float = -math.inf) -> None:
    """Remove the half-written files that killed processes left directly in a folder.

    Call it only from the process that owns the folder. If several processes write there, set `older`.

    Args:
        folder: the folder; its subfolders are not searched.
        older: the least age in seconds; a younger file may still be written by another process.
    """
    for left in folder.glob(f".*.{PART}"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > older:
                left.unlink()


def append_text(path: Path, text: str) -> None:
    """Append text to a file.

    Raises:
        InputError: the disk is full, or the file is not writable.
    """
    with one_line(path), path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)


@contextlib.contextmanager
def one_line(path: Path) -> Generator[None]:
    """Turn an error of the system while `path` is written into an InputError of one line."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            free = shutil.disk_usage(path.parent).free // 2**20
            raise InputError(
                f"{path}: the disk is full ({free} MB free); finished work is kept: "
                "free some space and run the same command again"
            ) from None
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another `out`") from None
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically. Raises InputError as `write_atomically` does."""

    def write(beside: Path) -> None:
        beside.write_text(text, encoding="utf-8", newline="")

    write_atomically(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically. Raises InputError as `write_atomically` does."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of a study folder.

    Raises:
        InputError: the file is missing, or is not readable as JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the output folder of `encoderlab compare`") from None
    except RecursionError:
        raise InputError(
            f"{path}: values are nested too deeply to be read; delete it and run the study again"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}); delete it and run the study again") from None


def build(classes: tuple[type, ...], key: str, section: Mapping[str, Any]) -> Any:
    """Build the dataclass of a resolved section that was read from a JSON file.

    Args:
        classes: the dataclasses to choose from.
        key: the attribute that tells them apart, such as "name"; the section has it too.
        section: the values of the section.
    """
    cls = next(c for c in classes if getattr(c, key, None) == section[key])
    return cls(**{name: _as_field(value) for name, value in section.items()})


def _as_field(value: Any) -> Any:
    """Return a tuple for a JSON list: the dataclasses of sections have tuples."""
    return tuple(cast(list[object], value)) if isinstance(value, list) else value


def out_problem(out: Path) -> str | None:
    """Return why results cannot be written to `out`, as one line, or None. Tries it in a temporary folder."""
    whole = Path(os.path.abspath(out))
    there = next(folder for folder in (whole, *whole.parents) if os.path.exists(folder))  # false for a wrong name
    if not there.is_dir():
        return f"{there} is a file; expected a folder, or a name that does not exist yet"
    try:
        with tempfile.TemporaryDirectory(dir=there) as folder:
            trial = Path(folder)
            try:
                (trial / whole.relative_to(there)).mkdir(parents=True, exist_ok=True)
            except (OSError, ValueError) as error:  # too long, or with a character that no name can have
                return f"{str(out)!r} cannot be a folder ({_reason(error)}); choose another name"
            (trial / "x").write_bytes(b"x")
    except OSError as error:
        return f"cannot write in {there} ({_reason(error)}); choose another folder, e.g. with -s out=FOLDER"
    return None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def model_name(name: str, folder: Path) -> str:
    """Return the absolute path of a model folder, or the name itself if it names a model on the hub.

    Args:
        name: a path or a hub name. It is a path if such a folder exists, or if it starts like one.
        folder: the folder that relative paths start at.
    """
    path = folder / os.path.expanduser(name)
    return str(path.absolute()) if os.path.isdir(path) or name.startswith((".", "/", "~")) else name


def json_value(text: str, path: Path, expected: str, line: int | None = None) -> Any:
    """Decode a JSON text.

    Args:
        text: the JSON text.
        path: the file that it comes from, for messages.
        expected: what the file should hold, for messages.
        line: the line of the text in the file; None if the text is the whole file.

    Raises:
        InputError: the text is not JSON, is nested too deeply, or has a number too long for Python.
    """
    where = str(path) if line is None else f"{path}:{line}"
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{line or error.lineno}: not JSON: {error.msg}; expected {expected}") from None
    except RecursionError:
        raise InputError(f"{where}: values are nested too deeply to be read; expected {expected}") from None
    except ValueError:  # Python does not convert such long numbers
        limit = sys.get_int_max_str_digits()
        raise InputError(f"{where}: a whole number has more than {limit} digits; write it as a string") from None
