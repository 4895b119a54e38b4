"""Words with times in every form that laboratories keep them in: the same words, or one line that says why not."""

from __future__ import annotations

import json
import pickle
import random
import re
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from encoderlab.cli import app
from encoderlab.errors import InputError
from encoderlab.stories import Story, read
from encoderlab.stories.read import noticed

Rows = list[tuple[float, float, str]]

ROWS: Rows = [(0.5, 0.8, "Once"), (0.9, 1.2, "upon"), (1.3, 1.5, "a")]


def tier(name: str, rows: Rows, *, points: bool = False) -> list[str]:
    lines = [f'class = "{"TextTier" if points else "IntervalTier"}"', f'name = "{name}"', "xmin = 0", "xmax = 4"]
    lines.append(f"{'points' if points else 'intervals'}: size = {len(rows)}")
    for start, stop, text in rows:
        lines += [f"number = {start}", f'mark = "{text}"'] if points else [f"xmin = {start}", f"xmax = {stop}"]
        lines += [] if points else [f'text = "{text}"']
    return lines


def grid(*tiers: list[str], xmin: float = 0, xmax: float = 4) -> str:
    head = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", f"xmin = {xmin}", f"xmax = {xmax}"]
    return "\n".join([*head, "tiers? <exists>", f"size = {len(tiers)}", *(line for one in tiers for line in one), ""])


def story(path: Path, text: str | bytes, **keys: object) -> Story:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (one,) = read(path, **keys)  # type: ignore[arg-type]
    return one


def refused(path: Path, text: str | bytes, says: str, **keys: object) -> None:
    with pytest.raises(InputError, match=says) as error:
        story(path, text, **keys)
    assert "\n" not in str(error.value) and path.name in str(error.value)


def table(rows: Rows, header: str = "onset\tduration\tword") -> str:
    return "\n".join([header, *(f"{a}\t{round(b - a, 3)}\t{word}" for a, b, word in rows), ""])


FORMS = {
    "t.tsv": table(ROWS),
    "offset.tsv": "Word\tOnset\tOffset\nOnce\t0.5\t0.8\nupon\t0.9\t1.2\na\t1.3\t1.5\n",
    "praat.tsv": "tmin\ttier\ttext\ttmax\n0.5\twords\tOnce\t0.8\n0.5\tphones\tW\t0.6\n0.9\twords\tupon\t1.2\n"
    "1.3\twords\ta\t1.5\n",
    "bids.tsv": "onset\tduration\ttrial_type\tword\n0.5\t1\tsentence\tOnce upon a\n0.5\t0.3\tword\tOnce\n"
    "0.9\t0.3\tword\tupon\n1.3\t0.2\tword\ta\n",
    "quoted.tsv": 'onset\tduration\tword\n0.5\t0.3\t"Once"\n0.9\t0.3\tupon\n1.3\t0.2\ta\n',
    "mfa.csv": "Begin,End,Label,Type,Speaker\n0.5,0.8,Once,words,x\n0.5,0.6,W,phones,x\n0.9,1.2,upon,words,x\n"
    "1.3,1.5,a,words,x\n",
    "lpp.csv": ",word,lemma,onset,offset\n0,Once,once,0.5,0.8\n1,upon,upon,0.9,1.2\n2,a,a,1.3,1.5\n",
    "excel.csv": "onset;duration;word\n0.5;0.3;Once\n0.9;0.3;upon\n1.3;0.2;a\n",
    "align.csv": "Once,once,0.5,0.8\nupon,upon,0.9,1.2\nZorb,<unk>,,\na,a,1.3,1.5\n",
    "gentle.json": json.dumps(
        {
            "words": [
                {"case": "success", "alignedWord": word.lower(), "word": word, "start": a, "end": b}
                for a, b, word in ROWS
            ]
            + [{"case": "not-found-in-audio", "word": "2266"}]
        }
    ),
    "whisperx.json": json.dumps(
        {"segments": [{"text": "Once upon a", "words": [{"word": f" {w}", "start": a, "end": b} for a, b, w in ROWS]}]}
    ),
    "mfa.json": json.dumps(
        {
            "start": 0,
            "end": 2,
            "tiers": {
                "words": {"type": "interval", "entries": [list(row) for row in ROWS]},
                "phones": {"type": "interval", "entries": [[0.5, 0.6, "W"]]},
            },
        }
    ),
    "kaldi.ctm": ";; a comment\nr 1 0.5 0.3 Once 0.9\nr 1 0.9 0.3 upon\nr 1 1.3 0.2 a\n",
    "crlf.tsv": "\ufeff" + table(ROWS).replace("\n", "\r\n"),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_words(tmp_path: Path, name: str) -> None:
    one = story(tmp_path / name, FORMS[name])
    assert one.name == name.rsplit(".", 1)[0] and one.words == ("Once", "upon", "a")
    assert one.times == pytest.approx([0.65, 1.05, 1.4])
    lost = [note for note in one.notes if "without a time" in note]
    assert len(lost) == (name in ("align.csv", "gentle.json"))


@pytest.mark.parametrize("name", ["long", "short", "point", "chronological", "utf-16-le", "utf-16-be"])
def test_every_form_of_a_text_grid(tmp_path: Path, name: str) -> None:
    phones = tier("phones", [(0.5, 0.6, "W"), (0.6, 0.7, "AH1"), (0.7, 0.8, "N")])
    text = grid(tier("words", ROWS, points=name == "point"), phones)
    if name == "short":
        text = re.sub(r"(?m)^(?!File|Object)[^\"\n]*?[=?] ", "", text)
    if name == "chronological":
        rows = [f'1 {a} {b} "{word}"\n2 {a}\n"X"' for a, b, word in ROWS]
        head = '"Praat chronological TextGrid text file"\n0 4 ! Time domain.\n2 ! Number of tiers.\n'
        text = head + '"IntervalTier" "words" 0 4\n"TextTier" "phones" 0 4\n' + "\n".join(rows)
    one = story(tmp_path / "t.TextGrid", text.encode(name if name.startswith("utf") else "utf-8"))
    assert one.words == ("once", "upon", "a") and noticed([one])[0] == "tier 'words' (t)"
    assert one.times == pytest.approx([0.5, 0.9, 1.3] if name == "point" else [0.65, 1.05, 1.4])


def test_marks_are_one_list_for_every_form(tmp_path: Path) -> None:
    said = ["I", "laughter", "um", "so]]", "(hello)", "f{ns}", "[", "uh-"]
    marks = ["sp", "{NS}", "[laughter]", "#", "[bracketed]", "<eps>", "<CUTOFF-th=the>", "(laughs)", "<p:>", "{xy}"]
    marks += ["{ns", "<unk>", "[door [slams]]", "sentence_start", "SIL", "(.)"]
    rows = [(i / 4, i / 4 + 0.2, word) for i, word in enumerate([*said, *marks, "n/a", ""])]
    items = [{"word": w, "start": a, "end": b} for a, b, w in rows]
    forms = {
        "a.tsv": table(rows),
        "a.csv": "onset,duration,word\n" + "".join(f"{a},{b - a},{w}\n" for a, b, w in rows),
        "a.json": json.dumps({"words": items}),
        "a.TextGrid": grid(tier("words", rows), xmax=9),
    }
    for name, text in forms.items():
        one = story(tmp_path / name, text)
        assert [w.lower() for w in one.words] == [w.lower() for w in said], name
        counts = {note.split(":")[0] for note in one.notes}
        assert counts >= {
            "6 silence marks left out",
            "2 noise marks left out",
            "2 laughter marks left out",
            "4 bracketed marks left out",
            "1 rows with n/a for a word left out",
            "1 rows without text left out",
            "1 words in round brackets (kept)",
        }, (name, counts)
        more = read(tmp_path / name, marks=["UM", "uh-"])[0]
        assert len(more) == len(one) - 2 and "2 listed marks left out: um, uh-" in more.notes


def test_what_is_left_out_changes_nothing_for_the_others(tmp_path: Path) -> None:
    clean = story(tmp_path / "s.tsv", table([*ROWS, (2, 9, "end")]))
    rows = [(0, 9, "n/a"), *ROWS[:1], (0.8, 0.9, "sp"), *ROWS[1:], (2, 9, "end")]
    other = story(tmp_path / "s.tsv", table(rows))
    assert (other.words, other.times.tolist()) == (clean.words, clean.times.tolist())
    assert other.words_fingerprint == clean.words_fingerprint and (other.tr_times == clean.tr_times).all()


def test_words_without_a_time_and_words_out_of_order(tmp_path: Path) -> None:
    one = story(
        tmp_path / "s.tsv", "onset\tduration\tword\n3\t1\tlast\n\t\t2266\nn/a\tn/a\tlost\n1\t1\tfirst\n2\t0\tmid\n"
    )
    assert one.words == ("first", "mid", "last") and one.times.tolist() == [1.5, 2, 3.5]
    assert one.notes == (
        "2 words without a time left out: 2266, lost",
        "1 words stood after a later word; put in the order of their onsets",
    )


def test_times_have_one_origin(tmp_path: Path) -> None:
    late = grid(tier("words", [(100, 100.5, "once"), (100.5, 101, "upon")]), xmin=100, xmax=130)
    one = story(tmp_path / "s.TextGrid", late)
    assert one.times.tolist() == [0.25, 0.75] and one.tr_times[-1] == 39
    assert any("which the file sets to 100 s" in line for line in noticed([one]))
    rows = [[100, 100.5, "once"], [100.5, 101, "upon"]]
    mfa = {"start": 100, "end": 130, "tiers": {"words": {"type": "interval", "entries": rows}}}
    assert story(tmp_path / "s.json", json.dumps(mfa)).times.tolist() == [0.25, 0.75]
    phrases = story(tmp_path / "s.tsv", "onset\tduration\tword\n0\t2\tonce upon a time\n")
    assert phrases.notes[0].startswith("1 rows hold several words and count as one word each")
    early = story(tmp_path / "s.tsv", "onset\tduration\tword\n-3\t0.3\tOnce\n0.5\t0.3\tupon\n")
    assert (
        early.times[0] == pytest.approx(-2.85) and "1 words begin before the recording (negative times)" in early.notes
    )


def test_sections_with_a_clock_of_their_own_are_stories(tmp_path: Path) -> None:
    head = ",word,onset,offset,section\n"
    (tmp_path / "lppEN_word_information.csv").write_text(
        head + "0,Once,0.1,0.7,1\n1,when,0.7,0.9,1\n2,six,0.3,0.5,2\n3,boa,0.6,0.9,2\n"
    )
    parts = read(tmp_path / "lppEN_word_information.csv")
    assert [(p.name, p.words) for p in parts] == [
        ("lppEN_section1", ("Once", "when")),
        ("lppEN_section2", ("six", "boa")),
    ]
    assert story(tmp_path / "one.csv", head + "0,Once,0.1,0.7,1\n1,six,1.3,1.5,2\n").words == ("Once", "six")
    refused(tmp_path / "m.csv", head + "0,a,1,2,1\n1,b,0,1,2\n2,c,5,6,3\n", "some sections start their times anew")
    (tmp_path / "two.ctm").write_text("s1 1 0.5 0.3 once\ns2 1 0.1 0.2 six\n")
    assert [(p.name, p.words) for p in read(tmp_path / "two.ctm")] == [("s1", ("once",)), ("s2", ("six",))]


def test_which_tier_is_never_guessed(tmp_path: Path) -> None:
    file = tmp_path / "s.TextGrid"
    twice = grid(tier("words", [(0, 1, "hello")]), tier("words", [(1, 2, "hi")]))
    refused(file, twice, r"2 tiers may hold the words; .*\(tier = 1\); it has 1 'words', 2 'words'")
    refused(file, twice, "2 tiers are called 'words'; choose one by its number", tier="words")
    assert [story(file, twice, tier=n).words for n in (1, "2")] == [("hello",), ("hi",)]
    people = grid(tier("jack - words", ROWS), tier("jack - phones", ROWS), tier("jill - words", ROWS))
    refused(file, people, "2 tiers may hold the words; .*'jack - words', 'jack - phones', 'jill - words'")
    phones = [(0, 0.2, "HH"), (0.2, 0.5, "AH0"), (0.5, 0.8, "L")]
    for name in ("phones", "MAU", "jack - phones", "any"):
        refused(file, grid(tier(name, phones)), f"tier '{name}' seems to hold phones, not words")
    assert story(file, grid(tier("phones", phones)), tier="phones").words == ("hh", "ah0", "l")
    refused(file, grid(tier("words", ROWS)), "no tier 3; it has 'words'|no tier '3'; it has 'words'", tier=3)
    refused(tmp_path / "s.tsv", table(ROWS), "this table has no column of tiers; remove the key", tier="words")
    csv = "Begin,End,Label,Type\n0,0.2,HH,phones\n0.2,0.4,AH0,phones\n"
    assert story(tmp_path / "t.csv", csv.replace("phones", "noun")).words == ("HH", "AH0"), "`type` may be of words"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"upon"', '"he said "no" twice"', r':18: a quote inside a text is not written twice \(text = "he said'),
        ('"upon"', '""no""', r":18: a quote inside a text is not written twice"),
        ('"upon"', '"she said " ok"', r":18: a quote inside a text is not written twice"),
        ("xmin = 0.9", "xmin = 0,9", ":16: 0,9 has a decimal comma; expected a point"),
        ("xmin = 0.9", "xmin = 1.9", ":16: 'upon' ends at 1.2 s, before it begins at 1.9 s"),
        ("xmin = 0.9", "xmin = 1e999", ":16: a number without end"),
        ("IntervalTier", "SpectrumTier", ":8: a tier of class 'SpectrumTier'"),
    ],
)
def test_the_true_line_of_a_text_grid(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = grid(tier("words", ROWS))
    assert old in text
    refused(tmp_path / "s.TextGrid", text.replace(old, new), says)


def test_comments_bare_decimals_and_letters_of_praat(tmp_path: Path) -> None:
    file, text = tmp_path / "s.TextGrid", grid(tier("words", ROWS))
    for old, new in (("xmin = 0.9", '! by 2 people on day 5 "x"\nxmin = .9 ! 7'), ("xmax = 0.8", "xmax = +8.0E-1")):
        assert story(file, text.replace(old, new)).times == pytest.approx([0.65, 1.05, 1.4])
    letters = [(0.0, 1.0, r"caf\e'"), (1.0, 2.0, r"stra\sse"), (2.0, 3.0, 'na\\i""ve'), (3.0, 4.0, "oh!")]
    assert story(file, grid(tier("words", letters))).words == ("café", "straße", "naïve", "oh!")
    cp1252 = grid(tier("words", [(0, 1, "it\u2019s")])).encode("cp1252")
    refused(file, cp1252, r":15: byte 0x92 is not UTF-8 \('it’s' in Windows-1252, 'itís' in Mac Roman\)")
    refused(file, b"ooBinaryFile\x08TextGrid\x00", "a binary TextGrid")


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
        ("s.tsv", "/annex/objects/MD5E-s1--a.tsv\n", "a pointer of git-annex, the file itself was not fetched"),
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
    with pytest.raises(InputError, match=r"story 's1' is there twice \(s1.TextGrid, s1.tsv\)"):
        read(tmp_path)
    (tmp_path / "s1.TextGrid").unlink()
    (tmp_path / "s2.tsv").symlink_to("../.git/annex/objects/s2.tsv")
    (tmp_path / "s3.tsv").write_text("onset\tword\n")
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert [line.split(": ")[1][:9] for line in error.value.problems] == ["a link to", "no column"]
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


NESTED_KEY = b"\x80\x02" + b"}K\x00" + b"\x852" * 1 + b"\x86" + b"2\x86" * 40 + b"K\x01s."


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02]r\xff\xff\xff\x7f.",  # a memo of 2 billion places
        NESTED_KEY,  # a key that takes 2 ** 40 steps to hash
        b"\x80\x04\x8f(" + b"K\x00\x852\x86" + b"2\x86" * 40 + b"\x90.",  # the same in a set
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
