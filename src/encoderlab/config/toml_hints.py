"""Say what a person who wrote a line that is no TOML most likely meant."""

from __future__ import annotations

import re

_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")
_TWICE = re.compile(r"Cannot (overwrite|declare|mutate|redefine)|twice|already")


def toml_hint(message: str, text: str) -> str:
    """What to do about an error of tomllib, with "; " in front; empty where nothing is known.

    Args:
        message: the error in words, with its line.
        text: the file.
    """
    place = _PLACE.search(message)
    lines = text.splitlines()
    number = int(place[1]) if place else len(lines)
    line = lines[number - 1] if 0 < number <= len(lines) else ""
    key, equals, value = (part.strip() for part in line.partition("="))
    if _TWICE.search(message):
        name = line.strip() if not equals else key
        return f"; {name} is there twice (or in two ways): keep one of them"
    if re.search(r'"[^"]*\\', value):
        return "; a backslash in double quotes is an escape: write a path with / or in single quotes"
    if re.search("[\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb]", line):
        return "; it has curly quotes: write \" or '"
    if "\r" in text.replace("\r\n", ""):
        return "; its lines end with a carriage return alone: save it with line ends of this system"
    if equals and re.match(r"[A-Za-z_./~\\]", value) and not value.startswith(("true", "false", "inf", "nan")):
        sign = "'" if "\\" in value else '"'
        return f"; a text is written in quotes: {key} = {sign}{value}{sign}"
    if equals and re.search(r"^\{[^}]*$", value):
        return f"; a table in braces stands on one line, and else in a section of its own: [{key}]"
    if value.count('"') % 2 or value.count("'") % 2:
        return "; a quote is missing"
    if equals and re.fullmatch(r"[^\[\]{}]+(,[^\[\]{}]+)+", value):
        return f"; a list is written in brackets: {key} = [{value}]"
    if not equals and re.match(r"\s*[\w.-]+\s*:", line):
        return '; a key is written as key = value, and a section as [name], e.g. model = "bert-base-uncased"'
    return ""
