"""Read `raw_text.pkl`, the Huth laboratory's file: a pickled dict of `ridge_utils.DataSequence.DataSequence` objects.

A pickle is a program: reading one runs whatever it names. This reader admits the few globals that such files need. It
refuses every other global by its name, before anything is called. No foreign code is imported: an inert class stands in
for DataSequence. numpy's helpers come from the installed numpy, whichever version wrote the file (protocols 2 to 5).

A pickle may also be built to use up memory or time. Python's own unpickler is used because, unlike the one in C, it
allocates nothing for a size that the file claims. Nested tuples as keys, which take very long to hash, are refused.
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
from encoderlab.core.errors import InputError, first_line

try:  # where numpy 2 keeps them; numpy 1 had them in numpy.core
    from numpy._core import multiarray, numeric
except ImportError:  # pragma: no cover
    from numpy.core import multiarray, numeric  # type: ignore[no-redef]


class _Sequence:
    """A stand-in for the laboratory's DataSequence, which holds the pickled state and does nothing."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a DataSequence without named attributes")
        self.state = state


class _Refused(Exception):
    """A global that the file names and that this reader does not admit."""


def _dtype(name: Any, *rest: Any) -> np.dtype:
    """Make a numpy.dtype, but none of objects: unpickling an array of objects would run what its elements name."""
    if not isinstance(name, str) or any(flag not in (0, 1) for flag in rest):
        raise pickle.UnpicklingError("a numpy.dtype that numpy does not write")
    dtype = np.dtype(name, False, True)  # a copy: its state is set next, and numpy's own object must not change
    if dtype.hasobject:
        raise _Refused("numpy.dtype('O'), an array of Python objects")
    return dtype


def _check_state(dtype: np.dtype, state: Any) -> None:
    """Admit a byte order and nothing else: numpy would trust any size in a state, and read memory by it."""
    sizes = ((-1, -1), (dtype.itemsize, dtype.alignment))
    plain = isinstance(state, tuple) and len(state) == 8 and state[0] == 3 and state[2:5] == (None, None, None)
    if not plain or state[1] not in ("<", ">", "=", "|") or state[5:7] not in sizes or not isinstance(state[7], int):
        raise pickle.UnpicklingError("a numpy.dtype with a state that numpy does not write")


_NDARRAY = object()  # stands for `numpy.ndarray` inside the file; `_reconstruct` checks it, and nothing calls it


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    if kind is not _NDARRAY or shape != (0,):  # numpy writes an empty array, and its state afterwards
        raise _Refused("numpy's _reconstruct of something that is not an array")
    return multiarray._reconstruct(np.ndarray, shape, code)  # type: ignore[attr-defined]


def _scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(data, bytes) or dtype.itemsize != len(data):
        raise pickle.UnpicklingError("a numpy number whose size differs from that of its bytes")
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
    """Python's unpickler with checks of keys, states, sizes and globals."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Python.dispatch)

    def load_setitem(self) -> None:
        _check_key(self.stack[-2])
        _Python.load_setitem(self)

    def load_setitems(self) -> None:  # the stack holds the items since the mark
        for key in self.stack[::2]:
            _check_key(key)
        _Python.load_setitems(self)

    def load_dict(self) -> None:
        for key in self.stack[::2]:
            _check_key(key)
        _Python.load_dict(self)

    def load_set(self) -> None:
        raise pickle.UnpicklingError("a set")

    def load_bytearray(self) -> None:  # read what exists, where Python would allocate what the file claims
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
    """Read the stories of a `raw_text.pkl`, in its order.

    Raises:
        InputError: the file is damaged, is not a raw_text.pkl, or names a global that is refused.
    """
    data = content(path)
    try:
        stories = _Unpickler(io.BytesIO(data)).load()
    except _Refused as refused:
        raise InputError(
            f"{path}: refused: the pickle names {refused}, which no raw_text.pkl needs. encoderlab ran nothing from "
            "the file. Expected a dict of ridge_utils.DataSequence.DataSequence"
        ) from None
    except Exception as error:  # a damaged pickle can make the unpickler or numpy raise anything
        raise InputError(f"{path}: damaged or cut off, or not a pickle ({_line(error)}); copy it again") from None
    if not isinstance(stories, dict) or not stories:
        raise InputError(f"{path}: holds {_kind(stories)}; expected a dict of story name -> DataSequence")
    return [_story(path, name, value) for name, value in stories.items()]


def _story(path: Path, name: Any, value: Any) -> Story:
    """Make a story of one item of the dict, or raise InputError."""
    where = f"{path}: story {name!r:.80}"
    if not isinstance(name, str) or not isinstance(value, _Sequence) or not hasattr(value, "state"):
        raise InputError(f"{where}: holds {_kind(value)}; expected a DataSequence under the story's name")
    missing = [key for key in ("data", "data_times", "tr_times") if key not in value.state]
    if missing:
        raise InputError(f"{where}: its DataSequence has no {', '.join(missing)}; expected data, data_times, tr_times")
    words = value.state["data"]
    words = words.tolist() if isinstance(words, np.ndarray) else words
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{where}: its data are not a list of words; expected strings")
    try:
        times, trs = (_numbers(value.state[key]) for key in ("data_times", "tr_times"))
        return checked(str(path), name, list(map(str, words)), times, trs)
    except (TypeError, ValueError, OverflowError):  # an int may have any number of digits
        raise InputError(f"{where}: its times are not numbers; expected seconds") from None


def _numbers(value: Any) -> np.ndarray:
    """Make a float64 array of an array or a flat list.

    Raises:
        TypeError: the numbers are complex, or the list holds lists, which may contain themselves.
    """
    if isinstance(value, list | tuple) and any(isinstance(item, list | tuple | dict) for item in value):
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
    return first_line(error)[:200]
