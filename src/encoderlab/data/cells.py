"""Read lists and objects that a text cell spells out: the one place for it, whatever the format and the task.

    ["a", "b"]                  JSON
    ['a', "b's", None]          Python's repr, as pandas writes a list into a CSV; also ('a', 'b')
    ['a' 'b']  [1 0 3]          numpy's repr, as pandas writes an array; line breaks are spaces
    array(['a'], dtype=object)  numpy's repr inside of another value; also np.str_('a'), np.int64(1)
    {'text': [...], ...}        an object of such values

A cell that looks like a list and cannot be read is an error and never a text: split at white space it would give words
and labels with brackets and quotes in them.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>[uU]?'(?:[^'\\]|\\.)*'|[uU]?"(?:[^"\\]|\\.)*")
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
      | (?P<dots>\.\.\.)
      | (?P<name>[A-Za-z_][\w.]*)
      | (?P<sign>[\[\](){},:=])""",
    re.VERBOSE | re.DOTALL,
)
_NAMES = {"None": None, "null": None, "nan": None, "NaN": None, "True": True, "true": True, "False": False}
_NAMES |= {"false": False}
_CLOSES = {"[": "]", "(": ")", "{": "}"}
_LOOKS_QUOTED = re.compile(r"[\[(][uU]?['\"]")  # nobody writes a space in front of the first string
_LOOKS_NUMBERED = re.compile(r"\[\s*-?\d")
_LOOKS_UNQUOTED = re.compile(r"\[[^\[\]\s][^\[\]]*,\s*[^\[\]]*\]")
_PRINTED = re.compile(  # as libraries print what is no list: tensor([0, 1]), frozenset({'a'}), <tf.Tensor: ...>
    r"(?:\w+\.)*(?:[tT]ensor|Series|\w*Index|frozenset|set|deque|Counter|OrderedDict|defaultdict|o?dict_\w+|Categorical"
    r"|\w*Array)\(\s*[\[({<].*\)|<[\w.]+(?:Array|Tensor|Scalar)\b.*",
    re.DOTALL,
)
_SERIES = re.compile(r"\n(?:Name: .*, )?(?:Length: \d+, )?dtype: \w+\s*$")  # the last line of what pandas prints
_BRACES = re.compile(r"""\{\s*(?:[uUbB]?['"].*|-?\d+\s*(?:[,:].*)?|[^{}\s][^{}]*[,:][^{}]*)?\}""", re.DOTALL)
DEEPEST = 20


class _Unreadable(ValueError):
    pass


def as_list(cell: Any) -> list | None:
    """Return the list that a cell is, or spells out; None for any other cell.

    Raises:
        ValueError: the cell looks like a list that cannot be read, or was cut short when it was written.
    """
    if isinstance(cell, list | tuple):
        return list(cell)
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    quoted = _LOOKS_QUOTED.match(text) is not None
    if text.startswith("[") and quoted and not text.endswith("]"):
        raise ValueError(_unreadable(text, "it does not end with a bracket"))
    # A text in round brackets is a tuple only where what is in it is quoted.
    bracketed = (text.startswith("[") and text.endswith("]")) or (quoted and text.endswith(")"))
    if not bracketed and not text.startswith("array(["):
        return None
    try:
        found = parse(text)
    except _Unreadable as error:
        cut = "cut short" in str(error) and _LOOKS_NUMBERED.match(text)
        if cut or quoted or _LOOKS_UNQUOTED.fullmatch(text):
            raise ValueError(_unreadable(text, str(error))) from None
        return None
    # ("word") is a word in brackets; Python writes a tuple of one with a comma.
    return found if isinstance(found, list) else None


def other_form(cell: Any) -> str | None:
    """Say what is wrong where a text cell is a list or an object in a form that has no order, or is not read: a set, a
    printed tensor, Series or Index, the array of a database. For cells in which no such text is expected."""
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    if _PRINTED.fullmatch(text) or _SERIES.search(text):
        return _unreadable(text, "it is printed, not a list")
    if _BRACES.fullmatch(text):
        return _unreadable(text, "it is a set or an object, which has no order")
    return None


def as_value(cell: Any) -> Any:
    """Return the list or the object that a text cell spells out; any other cell as it is."""
    if isinstance(cell, str) and cell.lstrip().startswith("{") and cell.rstrip().endswith("}"):
        try:
            return parse(cell.strip())
        except _Unreadable as error:
            raise ValueError(_unreadable(cell, str(error))) from None
    found = as_list(cell)
    return cell if found is None else found


def _unreadable(text: str, why: str) -> str:
    excerpt = text if len(text) <= 40 else text[:39] + "…"
    return f'{excerpt!r} looks like a list or an object but cannot be read ({why}); write it as JSON: ["a", "b"]'


def parse(text: str) -> Any:
    """Return the value of a text in one of the forms above. Raises _Unreadable."""
    try:
        return json.loads(text, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        pass
    tokens = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise _Unreadable(f"at {text[place : place + 10]!r}")
        if match.lastgroup == "dots":
            raise _Unreadable("it was cut short with ... when it was written: write the whole list")
        if match.lastgroup != "space":
            tokens.append((match.lastgroup, match.group()))
        place = match.end()
    value, end = _value(tokens, 0, 0)
    if end != len(tokens):
        raise _Unreadable("there is more behind its end")
    return value


def _value(tokens: list[tuple[str | None, str]], at: int, depth: int) -> tuple[Any, int]:
    """The value that begins at a token, and the number of the token behind it."""
    if at >= len(tokens):
        raise _Unreadable("it ends too early")
    if depth > DEEPEST:
        raise _Unreadable("it is nested too deeply")
    kind, text = tokens[at]
    if kind == "string":
        try:
            return ast.literal_eval(text.replace("\n", "\\n").replace("\r", "\\r")), at + 1
        except (ValueError, SyntaxError):
            raise _Unreadable(f"at {text[:10]!r}") from None
    if kind == "number":
        try:
            return (float(text) if set(text) & set(".eE") else int(text)), at + 1
        except ValueError:  # a whole number with more digits than Python converts
            raise _Unreadable(f"at {text[:10]!r}") from None
    if kind == "name" and tokens[at + 1 : at + 2] == [("sign", "(")]:
        return _call(tokens, at, depth)
    if kind == "name" and text in _NAMES:
        return _NAMES[text], at + 1
    if text in ("[", "("):
        return _items(tokens, at + 1, _CLOSES[text], depth)
    if text == "{":
        return _object(tokens, at + 1, depth)
    raise _Unreadable(f"at {text[:10]!r}")


def _items(tokens: list[tuple[str | None, str]], at: int, close: str, depth: int) -> tuple[Any, int]:
    """Values up to the closing bracket: all with commas between them, or, as numpy writes them, all without."""
    found: list[Any] = []
    commas = 0
    while at < len(tokens) and tokens[at][1] != close:
        value, at = _value(tokens, at, depth + 1)
        found.append(value)
        if at < len(tokens) and tokens[at][1] == ",":
            commas, at = commas + 1, at + 1
    if at >= len(tokens):
        raise _Unreadable("a bracket is not closed")
    if commas not in (0, len(found) - 1, len(found)):
        raise _Unreadable("a comma is missing")
    if close == ")" and len(found) == 1 and not commas:
        return found[0], at + 1
    return found, at + 1


def _object(tokens: list[tuple[str | None, str]], at: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while at < len(tokens) and tokens[at][1] != "}":
        key, at = _value(tokens, at, depth + 1)
        if tokens[at : at + 1] != [("sign", ":")] or not isinstance(key, str | int):
            raise _Unreadable("a key without a value")
        found[str(key)], at = _value(tokens, at + 1, depth + 1)
        if tokens[at : at + 1] == [("sign", ",")]:
            at += 1
    if at >= len(tokens):
        raise _Unreadable("a bracket is not closed")
    return found, at + 1


def _call(tokens: list[tuple[str | None, str]], at: int, depth: int) -> tuple[Any, int]:
    """array([...], dtype=object), np.str_('a'), list([...]): the value is the first argument."""
    name = tokens[at][1].removeprefix("np.").removeprefix("numpy.")
    if name not in ("array", "list", "tuple") and not re.fullmatch(r"(str|int|float|bool)(_|\d*)", name):
        raise _Unreadable(f"at {tokens[at][1][:10]!r}")
    value, at = _value(tokens, at + 2, depth + 1)
    if tokens[at : at + 2] == [("sign", ","), ("name", "dtype")]:
        at += 4  # , dtype = object
    if tokens[at : at + 1] != [("sign", ")")]:
        raise _Unreadable("a bracket is not closed")
    return value, at + 1
