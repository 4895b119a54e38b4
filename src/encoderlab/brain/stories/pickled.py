"""`raw_text.pkl`, the laboratory's own file: a pickled dict of `ridge_utils.DataSequence.DataSequence` objects.

A pickle is a program: reading one runs whatever it names. This reader admits the few globals that such files name, and
refuses every other by its name before anything is called. No foreign code is imported: the class is stood in for by an
inert one, and numpy's helpers are taken from the installed numpy, whichever version wrote the file (protocols 2 to 5).

A pickle may also be built to use up memory or time: Python's own unpickler, unlike the one in C, allocates nothing for
a number in the file, and keys that are tuples of tuples of tuples, which take for ever to hash, are refused.
"""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from encoderlab.brain.stories.content import content
from encoderlab.brain.stories.story import Story, checked
from encoderlab.core.errors import InputError

try:  # where numpy 2 keeps them; numpy 1 had them in numpy.core
    from numpy._core import multiarray, numeric
except ImportError:  # pragma: no cover
    from numpy.core import multiarray, numeric  # type: ignore[no-redef]


class _Sequence:
    """Stands in for the laboratory's DataSequence: holds the pickled state, does nothing."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a DataSequence without named attributes")
        self.state = state


class _Refused(Exception):
    """A global that the file names and that is not admitted."""


def _dtype(name: Any, *rest: Any) -> np.dtype:
    """numpy.dtype, except for arrays of objects: unpickling one would run what its elements name."""
    if not isinstance(name, str) or any(flag not in (0, 1) for flag in rest):
        raise pickle.UnpicklingError("numpy.dtype of something that numpy does not write")
    dtype = np.dtype(name, False, True)  # a copy: its state is set next, and numpy's own must not change
    if dtype.hasobject:
        raise _Refused("numpy.dtype('O'), an array of Python objects")
    return dtype


def _check_state(dtype: np.dtype, state: Any) -> None:
    """Admit a byte order alone: numpy takes any sizes that a state names, and reads memory by them."""
    sizes = ((-1, -1), (dtype.itemsize, dtype.alignment))
    plain = isinstance(state, tuple) and len(state) == 8 and state[0] == 3 and state[2:5] == (None, None, None)
    if not plain or state[1] not in ("<", ">", "=", "|") or state[5:7] not in sizes or not isinstance(state[7], int):
        raise pickle.UnpicklingError("a numpy.dtype with a state that numpy does not write")


_NDARRAY = object()  # what `numpy.ndarray` means inside the file: a mark for `_reconstruct`, nothing to call


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    if kind is not _NDARRAY or shape != (0,):  # numpy writes an empty array, and its state afterwards
        raise _Refused("numpy's _reconstruct of something that is no array")
    return multiarray._reconstruct(np.ndarray, shape, code)  # type: ignore[attr-defined]


def _scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(data, bytes) or dtype.itemsize != len(data):
        raise pickle.UnpicklingError("a number of numpy of another size than its bytes")
    return multiarray.scalar(dtype, data)  # type: ignore[attr-defined]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused(f"_codecs.encode with {encoding!r}")
    return text.encode("latin1")


def _ordered(items: Any = ()) -> dict:
    for key, _ in items:
        _check_key(key)
    return dict(items)


def _check_key(key: Any) -> None:
    if not isinstance(key, str | bytes | int | float | None):
        raise pickle.UnpicklingError(f"a key of a dict is a {type(key).__name__}")


ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): _ordered,
}
for _core in ("numpy.core", "numpy._core"):
    ADMITTED |= {
        (f"{_core}.multiarray", "_reconstruct"): _reconstruct,
        (f"{_core}.multiarray", "scalar"): _scalar,
        (f"{_core}.numeric", "_frombuffer"): numeric._frombuffer,  # type: ignore[attr-defined]
    }


_Python: Any = pickle._Unpickler  # type: ignore[attr-defined]


class _Unpickler(_Python):
    dispatch: ClassVar[dict[int, Any]] = dict(_Python.dispatch)

    def load_setitem(self) -> None:
        _check_key(self.stack[-2])
        _Python.load_setitem(self)

    def load_setitems(self) -> None:  # the items since the mark are the stack
        for key in self.stack[::2]:
            _check_key(key)
        _Python.load_setitems(self)

    def load_dict(self) -> None:
        for key in self.stack[::2]:
            _check_key(key)
        _Python.load_dict(self)

    def load_set(self) -> None:
        raise pickle.UnpicklingError("a set")

    def load_bytearray(self) -> None:  # what is there, where Python makes room for what the file claims
        size = int.from_bytes(self.read(8), "little")
        data = self.read(min(size, sys.maxsize))
        if len(data) < size:
            raise EOFError("the file ends inside an array")
        self.append(bytearray(data))

    def load_build(self) -> None:
        if not isinstance(self.stack[-2], _Sequence | np.ndarray | np.dtype):
            raise pickle.UnpicklingError(f"a state for a {type(self.stack[-2]).__name__}")
        if isinstance(self.stack[-2], np.dtype):
            _check_state(self.stack[-2], self.stack[-1])
        _Python.load_build(self)

    dispatch |= {pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems, pickle.DICT[0]: load_dict}
    dispatch |= {pickle.EMPTY_SET[0]: load_set, pickle.FROZENSET[0]: load_set, pickle.BYTEARRAY8[0]: load_bytearray}
    dispatch |= {pickle.BUILD[0]: load_build}

    def find_class(self, module: str, name: str) -> Any:
        if name == "DataSequence" and (module == "DataSequence" or module.endswith(".DataSequence")):
            return _Sequence
        if (module, name) not in ADMITTED:
            raise _Refused(f"{module}.{name}")
        return ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused(f"a persistent object {pid!r}")


def read_pickle(path: Path) -> list[Story]:
    """The stories of a `raw_text.pkl`, in its order. InputError for anything else, naming what was refused."""
    data = content(path)
    try:
        held = _Unpickler(io.BytesIO(data)).load()
    except _Refused as refused:
        raise InputError(
            f"{path}: refused: the pickle names {refused}, which no raw_text.pkl needs; nothing of it was run. "
            "Expected a dict of ridge_utils.DataSequence.DataSequence"
        ) from None
    except Exception as error:  # whatever a damaged pickle makes the unpickler or numpy raise
        raise InputError(f"{path}: damaged or cut off, or no pickle ({_line(error)}); copy it again") from None
    if not isinstance(held, dict) or not held:
        raise InputError(f"{path}: holds {_kind(held)}; expected a dict of story name -> DataSequence")
    return [_story(path, name, value) for name, value in held.items()]


def _story(path: Path, name: Any, value: Any) -> Story:
    where = f"{path}: story {name!r:.80}"
    if not isinstance(name, str) or not isinstance(value, _Sequence) or not hasattr(value, "state"):
        raise InputError(f"{where}: holds {_kind(value)}; expected a DataSequence under the story's name")
    missing = [key for key in ("data", "data_times", "tr_times") if key not in value.state]
    if missing:
        raise InputError(f"{where}: its DataSequence has no {', '.join(missing)}; expected data, data_times, tr_times")
    words = value.state["data"]
    words = words.tolist() if isinstance(words, np.ndarray) else words
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{where}: its data are no list of words; expected strings")
    try:
        times, trs = (_numbers(value.state[key]) for key in ("data_times", "tr_times"))
        return checked(str(path), name, list(map(str, words)), times, trs)
    except (TypeError, ValueError, OverflowError):  # an int may have any number of digits
        raise InputError(f"{where}: its times are no numbers; expected seconds") from None


def _numbers(value: Any) -> np.ndarray:
    """Make an array of an array or a flat list. Raise TypeError for complex numbers, and for a list of lists,
    which may be without end."""
    if isinstance(value, list | tuple) and any(isinstance(one, list | tuple | dict) for one in value):
        raise TypeError
    if np.iscomplexobj(value):
        raise TypeError
    return np.asarray(value, dtype=np.float64)


def _kind(value: Any) -> str:
    if isinstance(value, _Sequence):
        return "a DataSequence"
    size = f" of {len(value)}" if isinstance(value, dict | list | tuple | str) else ""
    return f"a {type(value).__name__}{size}"


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
