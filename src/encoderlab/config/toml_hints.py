"""Say how to correct a line that is not TOML."""

from __future__ import annotations

import re

_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")
_TWICE = re.compile(r"Cannot (overwrite|declare|mutate|redefine)|twice|already")


def toml_hint(message: str, text: str) -> str:
    """Say how to correct a line that is not TOML.

    Args:
        message: the error of tomllib, which has the line number.
        text: the file.

    Returns:
        What to do, or an empty string if the mistake is not a usual one.
    """
    place = _PLACE.search(message)
    lines = text.splitlines()
    number = int(place[1]) if place else len(lines)
    line = lines[number - 1] if 0 < number <= len(lines) else ""
    key, equals, value = (part.strip() for part in line.partition("="))
    if _TWICE.search(message):
        return f"{key if equals else line.strip()} occurs twice (or in two forms): keep one of them"
    if re.search(r'"[^"]*\\', value):
        return "a backslash in double quotes is an escape: write a path with / or in single quotes"
    if re.search("[\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb]", line):
        return "the line has curly quotes: write \" or '"
    if "\r" in text.replace("\r\n", ""):
        return "its lines end with a carriage return alone: save the file with the line ends of this system"
    return _hint_of_value(line, key, equals, value)


def _hint_of_value(line: str, key: str, equals: str, value: str) -> str:
    if equals and re.match(r"[A-Za-z_./~\\]", value) and not value.startswith(("true", "false", "inf", "nan")):
        sign = "'" if "\\" in value else '"'
        return f"write a text in quotes: {key} = {sign}{value}{sign}"
    if equals and re.search(r"^\{[^}]*$", value):
        return f"write a table in braces on one line, or as a section of its own: [{key}]"
    if value.count('"') % 2 or value.count("'") % 2:
        return "a quote is missing"
    if equals and re.fullmatch(r"[^\[\]{}]+(,[^\[\]{}]+)+", value):
        return f"write a list in brackets: {key} = [{value}]"
    if not equals and re.match(r"\s*[\w.-]+\s*:", line):
        return 'write a key as key = value, and a section as [name], e.g. model = "bert-base-uncased"'
    return ""
