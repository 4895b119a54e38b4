"""Stories from files: nothing lost, nothing run, and one clear line for what cannot be read."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoderlab.brain.stories.read import read
from encoderlab.brain.stories.saved import save
from encoderlab.brain.stories.story import Story
from encoderlab.core.errors import InputError


def sequence_class() -> type:
    """The laboratory's class under its own name; removed from sys.modules before anything is read."""
    module = types.ModuleType("ridge_utils.DataSequence")

    class DataSequence:
        def __init__(self, **state: Any) -> None:
            self.__dict__.update(state)

    DataSequence.__module__, DataSequence.__qualname__ = "ridge_utils.DataSequence", "DataSequence"
    module.DataSequence = DataSequence  # type: ignore[attr-defined]
    sys.modules |= {"ridge_utils": types.ModuleType("ridge_utils"), "ridge_utils.DataSequence": module}
    return DataSequence


@pytest.fixture
def make() -> Iterator[type]:
    yield sequence_class()
    for name in ("ridge_utils", "ridge_utils.DataSequence"):
        sys.modules.pop(name, None)


def write(path: Path, value: Any, protocol: int = 5) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    for name in ("ridge_utils", "ridge_utils.DataSequence"):
        sys.modules.pop(name, None)
    return path


def example(make: type, **changed: Any) -> Any:
    times, trs = np.array([0.5, 1.0, 1.0, 0.9, 99.0]), np.arange(-9.0, 20, 2)
    split = [np.int64(2), np.int64(3)]
    words = ["", "i", "don't", "know", "so]]"]
    return make(**{"data": words, "split_inds": split, "data_times": times, "tr_times": trs} | changed)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_laboratory_pickle(make: type, tmp_path: Path, protocol: int) -> None:
    (story,) = read(write(tmp_path / "raw_text.pkl", {"tale": example(make)}, protocol))
    assert story.name == "tale" and story.words == ("", "i", "don't", "know", "so]]")
    assert story.times.tolist() == [0.5, 1.0, 1.0, 0.9, 99.0] and story.tr == 2 and len(story.tr_times) == 15
    assert [note.split(" ", 1)[0] for note in story.notes] == ["1", "1", "1", "1"]
    assert "ridge_utils" not in sys.modules, "nothing foreign was imported"


def test_words_as_a_numpy_array_of_strings(make: type, tmp_path: Path) -> None:
    words = np.array(["a", "b", "c", "d", ""])
    assert read(write(tmp_path / "raw_text.pkl", {"t": example(make, data=words)}))[0].words == ("a", "b", "c", "d", "")


class Runs:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_what_would_run_is_refused_by_name(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    file = write(tmp_path / "raw_text.pkl", {"a": Runs(os.system, f"touch {mark}")}, protocol)
    with pytest.raises(InputError, match=r"refused: the pickle names (posix|nt|os)\.system") as error:
        read(file)
    assert not mark.exists() and "\n" not in str(error.value)


def nested_global(name: bytes) -> bytes:
    """A pickle that asks for a dotted name inside an admitted module, as protocol 4 can."""
    return b"\x80\x04\x8c\x05numpy\x8c" + bytes([len(name)]) + name + b"\x93."


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (nested_global(b"ndarray.__class__"), "numpy.ndarray.__class__"),
        (nested_global(b"load"), "numpy.load"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"c__builtin__\ngetattr\n.", "(builtins|__builtin__).getattr"),
        (b"cridge_utils.DataSequence\nDataSequence.__init__\n.", "ridge_utils.DataSequence.DataSequence.__init__"),
        (b"Pabc\n.", "a persistent object"),
    ],
)
def test_other_globals_are_refused_by_name(tmp_path: Path, data: bytes, named: str) -> None:
    (tmp_path / "raw_text.pkl").write_bytes(data)
    with pytest.raises(InputError, match=f"refused: the pickle names {named}"):
        read(tmp_path / "raw_text.pkl")


def test_an_object_array_is_refused(make: type, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    objects = np.array([Runs(os.system, f"touch {mark}"), None], dtype=object)
    with pytest.raises(InputError, match=r"array of Python objects"):
        read(write(tmp_path / "raw_text.pkl", {"a": example(make, data_times=objects)}))
    with pytest.raises(InputError, match=r"refused"):
        read(write(tmp_path / "raw_text.pkl", {"a": objects}, 2))
    assert not mark.exists()


def test_every_truncation_is_one_line(make: type, tmp_path: Path) -> None:
    whole = write(tmp_path / "raw_text.pkl", {"tale": example(make)}).read_bytes()
    for end in range(0, len(whole), 7):
        (tmp_path / "raw_text.pkl").write_bytes(whole[:end])
        with pytest.raises(InputError) as error:
            read(tmp_path / "raw_text.pkl")
        assert "\n" not in str(error.value) and "raw_text.pkl" in str(error.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": ["a", "b"]}, "2 words, but 5 word times"),
        ({"tr_times": np.array([1.0, 1.0])}, "TR 2 is at 1 s, TR 1 at 1 s; expected ascending"),
        ({"tr_times": np.array([])}, "no TR times"),
        ({"data_times": np.array([0, 1, np.nan, 3, 4])}, "word time 3 is nan"),
        ({"data": [1, 2, 3, 4, 5]}, "not a list of words"),
        ({"data_times": ["a"] * 5}, "times are not numbers"),
    ],
)
def test_stories_that_no_step_could_use(make: type, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=f"story 'tale'.*{says}"):
        read(write(tmp_path / "raw_text.pkl", {"tale": example(make, **change)}))


@pytest.mark.parametrize("value", [[1, 2], {}, {"a": 1}, 7])
def test_pickles_of_something_else(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InputError, match="expected a (dict|DataSequence)"):
        read(write(tmp_path / "raw_text.pkl", value))


INTERVALS = [
    (0.0, 0.5, "#"),
    (0.5, 1.0, "Once"),
    (1.0, 1.5, 'say ""hi""'),
    (1.5, 2.5, "{LG}"),
    (2.5, 3.0, "caf\u00e9"),
    (3, 4, ""),
]


def text_grid(*, short: bool, tiers: tuple[str, ...] = ("words",)) -> str:
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    head: list[tuple[str, Any]] = [("xmin", 0), ("xmax", 4)]
    lines += [str(v) if short else f"{k} = {v} " for k, v in head]
    lines += ["<exists>" if short else "tiers? <exists> ", str(len(tiers)) if short else f"size = {len(tiers)} "]
    lines += [] if short else ["item []: "]
    for number, name in enumerate(tiers, 1):
        rows = [("class", '"IntervalTier"'), ("name", f'"{name}"'), ("xmin", 0), ("xmax", 4)]
        lines += [] if short else [f"    item [{number}]:"]
        lines += [str(v) if short else f"        {k} = {v} " for k, v in rows]
        lines += [str(len(INTERVALS)) if short else f"        intervals: size = {len(INTERVALS)} "]
        for i, (start, end, text) in enumerate(INTERVALS, 1):
            lines += [] if short else [f"        intervals [{i}]:"]
            values = [("xmin", start), ("xmax", end), ("text", f'"{text}"')]
            lines += [str(v) if short else f"            {k} = {v} " for k, v in values]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_grids(tmp_path: Path, short: bool, encoding: str) -> None:
    (tmp_path / "tale.TextGrid").write_text(text_grid(short=short), encoding=encoding)
    (story,) = read(tmp_path / "tale.TextGrid", before=10, after=6)
    assert story.name == "tale" and story.words == ("once", 'say "hi"', "caf\u00e9")
    assert story.times.tolist() == [0.75, 1.25, 2.75]
    assert story.tr_times.tolist() == [-9, -7, -5, -3, -1, 1, 3, 5, 7, 9]
    assert story.notes == (
        "tier 'words': 3 words",
        "1 silence marks left out: #",
        "1 laughter marks left out: {lg}",
        "1 rows without text left out",
    )
    assert len(read(tmp_path / "tale.TextGrid", trs={"tale": 5})[0].tr_times) == 5


def test_the_tier_of_a_text_grid(tmp_path: Path) -> None:
    file = tmp_path / "tale.TextGrid"
    file.write_text(text_grid(short=False, tiers=("phones", "Words")), encoding="utf-8")
    assert read(file)[0].notes[0].startswith("tier 'Words'")
    assert read(file, tier="phones")[0].notes[0].startswith("tier 'phones'")
    with pytest.raises(InputError, match="no tier 'syllables'; the file has 'phones', 'Words'; set `tier` to one"):
        read(file, tier="syllables")
    file.write_text(text_grid(short=False, tiers=("a", "b")), encoding="utf-8")
    with pytest.raises(InputError, match="which tier holds the words"):
        read(file)


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_text_grid_cut_anywhere_is_one_line(tmp_path: Path, short: bool, encoding: str) -> None:
    whole = text_grid(short=short).rstrip().encode(encoding)
    file = tmp_path / "tale.TextGrid"
    for end in range(0, len(whole) - 4, 5):
        file.write_bytes(whole[:end])
        with pytest.raises(InputError) as error:
            read(file)
        assert "\n" not in str(error.value) and "tale.TextGrid" in str(error.value)


def test_real_text_grids(shared: Path) -> None:
    first = read(shared / "data/stories/lppEN_section1.TextGrid")[0]
    third = read(shared / "data/stories/lppEN_section3.TextGrid")[0]  # UTF-16
    assert (len(first), len(third)) == (1521, 1864)
    assert first.words[:4] == ("once", "when", "i", "was") and first.notes[1].startswith("188 silence")
    assert sum(int(n.split()[0]) for n in third.notes[1:]) == 219 and "\x00" not in "".join(third.words)


def test_tsv(tmp_path: Path) -> None:
    (tmp_path / "tale.tsv").write_text('onset\tduration\tword\tspeaker\n0.5\t0.5\tI\ta\n1\tn/a\t"\tb\n2\t1\tNA\tc\n')
    (story,) = read(tmp_path / "tale.tsv", before=0, after=1)
    assert (
        story.words == ("I", '"', "NA") and story.times.tolist() == [0.75, 1, 2.5] and story.tr_times.tolist() == [1, 3]
    )
    assert [s.name for s in read(tmp_path)] == ["tale"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("onset\tword\n1\ta\n", "no column duration; expected onset, duration and word, got onset, word"),
        ("onset\tduration\tword\n1\t1\ta\nx\t1\tb\n", ":3: onset is 'x'; expected seconds"),
        ("onset\tduration\tword\n1\t1\n", "not readable as TSV"),
        ("", "not readable as TSV"),
    ],
)
def test_wrong_tsv(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "tale.tsv").write_text(text)
    with pytest.raises(InputError, match=says):
        read(tmp_path / "tale.tsv")


@pytest.mark.parametrize("name", ["nothing.pkl", "empty", "notes.docx"])
def test_wrong_paths(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(InputError, match=f"{name}: (no such|no TextGrid|unknown ending)"):
        read(tmp_path / name)


def test_our_own_file(make: type, tmp_path: Path) -> None:
    stories = read(write(tmp_path / "raw_text.pkl", {"tale": example(make), "two": example(make)}))
    save(stories, tmp_path / "stories.parquet")
    again = read(tmp_path / "stories.parquet")
    assert [(s.name, s.words, s.notes) for s in again] == [(s.name, s.words, s.notes) for s in stories]
    assert all(
        (a.times == b.times).all() and (a.tr_times == b.tr_times).all() for a, b in zip(again, stories, strict=True)
    )
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "stories.parquet").read_bytes()[:-9])
    with pytest.raises(InputError, match="not readable as Parquet"):
        read(tmp_path / "cut.parquet")


def test_the_fingerprint_is_of_the_words() -> None:
    def story(*words: str) -> Story:
        return Story(name="a", words=words, times=np.zeros(len(words)), tr_times=np.zeros(1))

    assert story("ab", "c").words_fingerprint != story("a", "bc").words_fingerprint
    assert story("a", "").words_fingerprint != story("a").words_fingerprint


@pytest.fixture(scope="session")
def lab(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The course lab's own layout, made of the real stories."""
    folder = tmp_path_factory.mktemp("lab")
    tool = shared / "tools/make_lab_data.py"
    subprocess.run([sys.executable, str(tool), str(folder), "--stories", "12"], check=True, capture_output=True)
    return folder


def test_the_lab_layout(lab: Path) -> None:
    stories = read(lab / "raw_text.pkl")
    assert len(stories) == 12 and all(story.tr == 2 and story.tr_times[0] == -9 for story in stories)
    assert sum(not story.words[0] for story in stories) == 4
    rows = {s.name: len(np.load(lab / "subject2" / f"{s.name}.npy", mmap_mode="r")) for s in stories}
    assert all(len(story.tr_times) == rows[story.name] + 15 for story in stories)


def test_no_numpy_file_is_read_as_pickle(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    (tmp_path / "raw_text.pkl").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="not a pickle"):
        read(tmp_path / "raw_text.pkl")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("nan\t1\ta", "onset is 'nan'; expected seconds"),
        ("1\tinf\ta", "duration is 'inf'; expected seconds"),
        ("1e12\t1\ta", "the recording ends at 1e\\+12 s"),
    ],
)
def test_times_that_are_no_times(tmp_path: Path, row: str, says: str) -> None:
    (tmp_path / "tale.tsv").write_text(f"onset\tduration\tword\n{row}\n")
    with pytest.raises(InputError, match=says):
        read(tmp_path / "tale.tsv")


def test_names_that_cannot_be_files(make: type, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="story 'a/b': expected a name without slashes"):
        read(write(tmp_path / "raw_text.pkl", {"a/b": example(make)}))


def test_marks_in_brackets_are_not_said() -> None:
    from encoderlab.brain.vectors.static import normal

    assert [normal(word) for word in ("{cg}", "{LG}", "[laughter]", "laughter", "sp", "{hello}")] == [
        *("", "", "", "laughter", "sp", "hello")
    ]
