"""Words with times in every form that laboratories keep them in: the same words, or one line that says why not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from encoderlab.brain.stories.read import noticed, read
from fixtures_stories import FORMS, ROWS, grid, refused, story, table, tier


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
    refused(tmp_path / "m.csv", head + "0,a,1,2,1\n1,b,0,1,2\n2,c,5,6,3\n", "some sections start their times again")
    (tmp_path / "two.ctm").write_text("s1 1 0.5 0.3 once\ns2 1 0.1 0.2 six\n")
    assert [(p.name, p.words) for p in read(tmp_path / "two.ctm")] == [("s1", ("once",)), ("s2", ("six",))]


def test_which_tier_is_never_guessed(tmp_path: Path) -> None:
    file = tmp_path / "s.TextGrid"
    twice = grid(tier("words", [(0, 1, "hello")]), tier("words", [(1, 2, "hi")]))
    refused(file, twice, r"2 tiers may hold the words; .*\(tier = 1\); the file has 1 'words', 2 'words'")
    refused(file, twice, "2 tiers are called 'words'; choose one by its number", tier="words")
    assert [story(file, twice, tier=n).words for n in (1, "2")] == [("hello",), ("hi",)]
    people = grid(tier("jack - words", ROWS), tier("jack - phones", ROWS), tier("jill - words", ROWS))
    refused(file, people, "2 tiers may hold the words; .*'jack - words', 'jack - phones', 'jill - words'")
    phones = [(0, 0.2, "HH"), (0.2, 0.5, "AH0"), (0.5, 0.8, "L")]
    for name in ("phones", "MAU", "jack - phones", "any"):
        refused(file, grid(tier(name, phones)), f"tier '{name}' seems to hold phones, not words")
    assert story(file, grid(tier("phones", phones)), tier="phones").words == ("hh", "ah0", "l")
    refused(file, grid(tier("words", ROWS)), "no tier '3'; the file has 'words'; set `tier` to one of them", tier=3)
    refused(tmp_path / "s.tsv", table(ROWS), "this table has no column of tiers; remove the key", tier="words")
    csv = "Begin,End,Label,Type\n0,0.2,HH,phones\n0.2,0.4,AH0,phones\n"
    refused(tmp_path / "t.csv", csv, "tier 'phones' seems to hold phones, not words")
    plain = story(tmp_path / "t.csv", csv.replace("phones", "noun"))  # `type` may also be of words
    assert plain.words == ("HH", "AH0") and plain.notes[0].startswith("the words look like phones")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"upon"', '"he said "no" twice"', r':18: a quote inside a text is not written twice \(text = "he said'),
        ('"upon"', '""no""', r":18: a quote inside a text is not written twice"),
        ('"upon"', '"she said " ok"', r":18: a quote inside a text is not written twice"),
        ("xmin = 0.9", "xmin = 0,9", ":16: 0,9 has a decimal comma; expected a point"),
        ("xmin = 0.9", "xmin = 1.9", ":16: 'upon' ends at 1.2 s, before it begins at 1.9 s"),
        ("xmin = 0.9", "xmin = 1e999", ":16: the number is too large"),
        ("xmin = 0.9", '"a\nb"', ":16: expected a number, got .a b.$"),
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
