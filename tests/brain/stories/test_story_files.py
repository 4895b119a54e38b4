"""Files and folders of stories that are not what they should be: one line each, no traceback, no time lost."""

from __future__ import annotations

import pickle
import random
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from encoderlab.brain.stories.read import noticed, read
from encoderlab.cli.app import app
from encoderlab.core.errors import InputError
from fixtures_stories import FORMS, ROWS, grid, refused, table, tier


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("s.tsv", "onset\tduration\tword\tword\n1\t1\ta\tb\n", ":1: 2 columns are called 'word'"),
        ("s.tsv", "onset\tduration\ttrial_type\n0\t13\tmusic\n", "no column word; .* not which words"),
        ("s.tsv", "onset\tduration\tword\n", "no words in it .no rows."),
        ("s.tsv", "onset\tduration\tword\n0\t1\tsp\n", "no words in it .1 silence marks left out."),
        ("s.tsv", "onset\tduration\tword\n0.5\t-0.2\tupon\n", ":2: 'upon' ends at 0.3 s, before it begins"),
        ("s.tsv", "onset\tduration\tword\n0,5\t1\ta\n", ":2: onset is '0,5'; expected seconds; write a decimal point"),
        ("s.tsv", "onset\tduration\tword\n1_0\t1\ta\n", ":2: onset is '1_0'; expected seconds"),
        ("s.tsv", "onset\tduration\tword\n0\t300\ta\n500\t300\tb\n", "a word lasts 300 s .* divide the times by 1000"),
        ("s.tsv", "onset\tduration\tword\n0\t0\ta\n300\t0\tb\n", "words follow each other after 300 s"),
        ("s.tsv", b"onset\tduration\tword\n0.5\t0.3\tcaf\xe9\n", ":2: byte 0xE9 is not UTF-8"),
        ("s.csv", 'onset,duration,word\n0,1,"a\n', ":2: .*expected quoted cells"),
        ("s.json", "[1, 2]", "a list; expected words with times"),
        ("s.json", '{"a": 1}', "keys a; expected words with times"),
        ("s.json", '{"words": []}', "no words in it"),
        ("s.json", '{"words": [{"word": "a", "start": "x", "end": 1}]}', "word 1: start is 'x'; expected seconds"),
        ("s.json", '{"words": [{"word": "a", "start": 1e999, "end": 1}]}', "word 1: start is 'inf'"),
        ("s.json", '{"words": [{"word": "a", "start": 1' + "0" * 400 + ', "end": 1}]}', "word 1: start is '1000"),
        ("s.json", '{"segments": [{"text": "a b"}]}', "segment 1 has no list `words`; .*word_timestamps"),
        ("s.json", '{"words": [', "s.json:1: not JSON"),
        ("s.ctm", "s1 1 0.5 once\n", ":1: 's1 1 0.5 once'; expected recording, channel"),
        ("s.srt", "1\n00:00 --> 00:01\nhi\n", "unknown ending '.srt' .subtitles"),
        ("s.eaf", "<xml/>", "unknown ending '.eaf' .an ELAN file; in ELAN, export it as a Praat TextGrid"),
        ("s.TextGrid.gz", b"\x1f\x8b", "unknown ending '.gz' .compressed; unpack"),
        ("s.tsv", "/annex/objects/MD5E-s1--a.tsv\n", "a pointer of git-annex; the file itself was not fetched"),
        ("s.pkl", "version https://git-lfs.github.com/spec/v1\n", "a pointer of git-lfs"),
        ("s.parquet", "/annex/objects/MD5E-s1--a\n", "a pointer of git-annex"),
    ],
)
def test_one_line_for_what_is_no_story(tmp_path: Path, name: str, text: str | bytes, says: str) -> None:
    refused(tmp_path / name, text, says)


@pytest.mark.parametrize("name", ["s.tsv", "s.TextGrid", "s.pkl", "s"])
def test_what_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: no such file or folder; expected stories"):
        read(tmp_path / name)
    (tmp_path / name).symlink_to(".git/annex/objects/x")
    with pytest.raises(InputError, match=f"{name}: (a link to a file that is not here|unknown ending)"):
        read(tmp_path / name)


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "s1.tsv").write_text(table(ROWS))
    (tmp_path / ".s9.tsv").write_text("hidden")
    (tmp_path / "s1.json").write_text('{"onset": {"Description": "a BIDS sidecar"}}')
    (tmp_path / "old.tsv").mkdir()
    (one,) = read(tmp_path)
    assert noticed([one]) == [f"1 other files in {tmp_path} not read: s1.json (s1)"]
    (tmp_path / "s1.TextGrid").write_text(grid(tier("words", ROWS)))
    with pytest.raises(InputError, match=r"story 's1' occurs twice \(s1.TextGrid, s1.tsv\)"):
        read(tmp_path)
    (tmp_path / "s1.TextGrid").unlink()
    (tmp_path / "s2.tsv").symlink_to("../.git/annex/objects/s2.tsv")
    (tmp_path / "s3.tsv").write_text("onset\tword\n")
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert [line.split(": ")[1][:9] for line in error.value.lines] == ["a link to", "no column"]
    only = tmp_path / "json"
    only.mkdir()
    (only / "s1.json").write_text(FORMS["gentle.json"])
    assert read(only)[0].words == ("Once", "upon", "a")


def test_the_command_says_the_tier_and_what_was_left_out(tmp_path: Path) -> None:
    file = tmp_path / "s.TextGrid"
    file.write_text(grid(tier("words", [*ROWS, (2, 3, "xxx"), (3, 4, "sp")])))
    result = CliRunner().invoke(app, ["stories", str(file), "--mark", "xxx", "--tier", "1"])
    assert result.exit_code == 0 and "1 stories, 3 words" in result.output
    for line in ("tier 'words' (s)", "1 silence marks left out: sp (s)", "1 listed marks left out: xxx (s)"):
        assert line in result.output


NESTED_KEY = b"\x80\x02" + b"}K\x00" + b"\x852\x86" + b"2\x86" * 40 + b"K\x01s."


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02]r\xff\xff\xff\x7f.",  # a memo of 2 billion places
        NESTED_KEY,  # a key that takes 2 ** 41 steps to hash
        b"\x80\x04\x8f(" + b"K\x00\x852\x86" + b"2\x86" * 40 + b"\x90.",  # the same in a set
        b"\x80\x05]\x96" + (1 << 33).to_bytes(8, "little") + b"a.",  # a bytearray of 8 GiB
        pickle.dumps({"a": {1, 2}}),
        b"",
    ],
)
def test_a_pickle_that_would_use_up_memory_or_time(tmp_path: Path, data: bytes) -> None:
    start = time.perf_counter()
    refused(tmp_path / "s.pkl", data, "s.pkl: (damaged|holds|refused)")
    assert time.perf_counter() - start < 2


BITS = [
    "1e999",
    "n/a",
    "9" * 400,
    '"',
    "\t",
    ",",
    "0,5",
    "\n",
    "[[",
    "null",
    "!",
    "\ufeff",
    "\x00",
    "<exists>",
    "words",
]


@pytest.mark.parametrize("name", [*FORMS, "s.TextGrid", "p.TextGrid"])
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    if name in FORMS:
        whole = FORMS[name]
    else:
        whole = grid(tier("words", ROWS, points=name == "p.TextGrid"), tier("phones", [(0.5, 0.6, "W")]))
    chance, file = random.Random(0), tmp_path / name
    for _ in range(100):
        data = bytearray(whole.encode())
        for _ in range(chance.randint(1, 3)):
            at, bit = chance.randrange(len(data) + 1), chance.choice(BITS).encode()
            what = chance.randrange(4)
            if what == 0:
                data[at:at] = bit
            elif what == 1:
                del data[at : at + chance.randint(1, 20)]
            elif what == 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            else:
                data[at:at] = data[at : at + 40]
        file.write_bytes(data)
        start = time.perf_counter()
        try:
            read(file)
        except InputError as error:
            lines = str(error).splitlines()
            assert len(lines) == 1 and name in lines[0] and len(lines[0]) < 700
        assert time.perf_counter() - start < 2
