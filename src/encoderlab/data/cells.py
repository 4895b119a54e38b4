"""Read lists and objects that are written as text in a cell, for every file format and task.

    ["a", "b"]                  JSON
    ['a', "b's", None]          Python's repr, as pandas writes a list into a CSV; also ('a', 'b')
    ['a' 'b']  [1 0 3]          numpy's repr, as pandas writes an array; line breaks are spaces
    array(['a'], dtype=object)  numpy's repr inside another value; also np.str_('a'), np.int64(1)
    {'text': [...], ...}        an object of such values

A cell that looks like a list but cannot be read is an error. As a text it would be split at white space, and give words
and labels with brackets and quotes.
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
_PRINTED = re.compile(  # as libraries print other containers: tensor([0, 1]), frozenset({'a'}), <tf.Tensor: ...>
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
    """Return the list that a cell is or contains as text; None for any other cell.

    Raises:
        ValueError: the cell looks like a list but cannot be read, or was cut short when it was written.
    """
    if isinstance(cell, list | tuple):
        return list(cell)
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    quoted = _LOOKS_QUOTED.match(text) is not None
    if text.startswith("[") and quoted and not text.endswith("]"):
        raise ValueError(_unreadable(text, "it does not end with a bracket"))
    # A text in round brackets is a tuple only if its items are quoted.
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
    # ("word") is a word in brackets: Python writes a tuple of one item with a comma.
    return found if isinstance(found, list) else None


def other_form(cell: Any) -> str | None:
    """Return what is wrong with a cell that is a set, an object or a printed container; None for any other cell.

    Printed containers are tensors, Series, Index objects and arrays of a database. Call the function only for cells in
    which such a text is not a valid value.
    """
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    if _PRINTED.fullmatch(text) or _SERIES.search(text):
        return _unreadable(text, "it is printed output, not a list")
    if _BRACES.fullmatch(text):
        return _unreadable(text, "it is a set or an object, which has no order")
    return None


def as_value(cell: Any) -> Any:
    """Return the list or the object that a cell contains as text; any other cell unchanged.

    Raises:
        ValueError: the cell looks like a list or an object but cannot be read.
    """
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
    """Return the value of a text in one of the forms of this module. Raises _Unreadable."""
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
        raise _Unreadable("text follows its end")
    return value


def _value(tokens: list[tuple[str | None, str]], at: int, depth: int) -> tuple[Any, int]:
    """Parse the value that starts at token `at`. Returns the value and the position after it."""
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
    """Parse items up to the closing bracket: all separated by commas, or none, as numpy writes them."""
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
    """Parse keys and values up to the closing brace."""
    found: dict[str, Any] = {}
    while at < len(tokens) and tokens[at][1] != "}":
        key, at = _value(tokens, at, depth + 1)
        if tokens[at : at + 1] != [("sign", ":")] or not isinstance(key, str | int):
            raise _Unreadable("a key has no value")
        found[str(key)], at = _value(tokens, at + 1, depth + 1)
        if tokens[at : at + 1] == [("sign", ",")]:
            at += 1
    if at >= len(tokens):
        raise _Unreadable("a bracket is not closed")
    return found, at + 1


def _call(tokens: list[tuple[str | None, str]], at: int, depth: int) -> tuple[Any, int]:
    """Parse array([...], dtype=object), np.str_('a') or list([...]): the value is the first argument."""
    name = tokens[at][1].removeprefix("np.").removeprefix("numpy.")
    if name not in ("array", "list", "tuple") and not re.fullmatch(r"(str|int|float|bool)(_|\d*)", name):
        raise _Unreadable(f"at {tokens[at][1][:10]!r}")
    value, at = _value(tokens, at + 2, depth + 1)
    if tokens[at : at + 2] == [("sign", ","), ("name", "dtype")]:
        at += 4  # , dtype = object
    if tokens[at : at + 1] != [("sign", ")")]:
        raise _Unreadable("a bracket is not closed")
    return value, at + 1
