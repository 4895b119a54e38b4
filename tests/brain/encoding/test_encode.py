"""`encoderlab encode` from files to report: planted truth, leakage choices, what is refused, what is not done twice."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from encoderlab.brain.encoding import adapter_sweep, score
from encoderlab.brain.encoding.design_rows import Counted
from encoderlab.brain.encoding.encode import encode
from encoderlab.brain.encoding.score import read
from encoderlab.brain.fmri.design import Design
from encoderlab.brain.stories.saved import save
from encoderlab.brain.stories.story import Story
from encoderlab.brain.vectors.features import BagOfWords
from encoderlab.brain.vectors.static import read_vectors
from encoderlab.brain.vectors.vectors_file import open_vectors
from encoderlab.cli.app import main
from encoderlab.core.errors import EncoderlabError, InputError
from encoderlab.study.compare import compare

WORDS = "the film was not very good and acting plot bad a".split()
VOXELS = 12


def make_lab(folder: Path, stories: int = 7) -> None:
    """Stories of made-up words, vectors for these, and responses that follow the vectors of `true.txt`."""
    rng = np.random.default_rng(0)
    for name in ("true", "other"):
        rows = [f"{word} " + " ".join(f"{x:.4f}" for x in rng.normal(size=4)) for word in WORDS]
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    made, table = [], read_vectors(folder / "true.txt", set(WORDS))
    weights = rng.normal(size=(16, VOXELS))
    (folder / "S1").mkdir()
    for number in range(stories):
        trs = -9.0 + 2 * np.arange(75 + number)
        times = np.sort(rng.uniform(0, trs[-1] - 12, 300))
        story = Story(name=f"tale{number}", words=tuple(rng.choice(WORDS, 300)), times=times, tr_times=trs)
        made.append(story)
        design = Design()
        (rows_,) = design.delayed([design.rows(story.name, table.of(story)[0], times, trs)])
        signal = rows_ @ weights
        np.save(folder / "S1" / f"{story.name}.npy", signal / signal.std() + rng.normal(size=signal.shape))
    save(made, folder / "stories.parquet")


STUDY = """
[stories]
path = "stories.parquet"
[responses]
S1 = "S1"
[[features]]
kind = "bag-of-words"
size = 3
rate = true
[[features]]
kind = "vectors"
path = ["true.txt", "other.txt"]
[[features]]
kind = "word-length"
[encode]
permutations = 200
groups = 3
fitted = 3
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    make_lab(tmp_path)
    file = tmp_path / "study.toml"
    file.write_text(STUDY)
    return file


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "encoding.csv").open(encoding="utf-8") as file:
        return {row["feature"]: row for row in csv.DictReader(file)}


def test_the_planted_space_is_found(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = encode(study, ["encode.reference=other"])
    rows = table(report.parent)
    assert list(rows) == ["bag-of-words", "true", "other", "word-length"]
    best = rows["true"]
    assert float(best["mean"]) > 0.5 and float(best["significant"]) == 1.0
    assert all(float(row["mean"]) < float(best["mean"]) - 0.1 for name, row in rows.items() if name != "true")
    assert float(best["difference"]) > 0.1 and float(best["difference_low"]) > 0 and float(best["p"]) < 0.05
    assert rows["other"]["difference"] == "" and rows["other"]["holm_p"] == ""
    held = read(report.parent / "scores" / "S1" / "true.h5")
    assert held is not None and held.scores.shape == (7, VOXELS) and held.alphas.shape == (7, VOXELS)
    np.testing.assert_allclose(held.mean, held.scores.mean(axis=0), atol=1e-12)
    assert (held.p <= 1).all() and (held.p > 0).all() and (held.q >= held.p).all()
    assert held.p.min() < 1e-4  # counting its 200 permutations would end at 1/201
    assert any(line.startswith("smallest p that a voxel can reach") and "1/201 = 0.005" in line for line in held.notes)
    page = report.read_text(encoding="utf-8")
    assert (
        "true predicts S1 best" in page
        and page.count("<svg") == 5
        and "http" not in page.split("<svg")[0].split("</style>")[1]
    )
    account = json.loads((report.parent / "encoding.json").read_text())
    assert account["subjects"]["S1"]["doctor"]["lags"][0] == -8 and account["study"]["encode"]["trim"] == [10, 5]


def test_one_space_and_one_alpha_make_no_winner_and_no_picture(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(STUDY.replace('path = ["true.txt", "other.txt"]', 'path = "true.txt"'))
    report = encode(study, ["encode.alphas=[100]", "encode.permutations=0"])
    page = report.read_text(encoding="utf-8")
    assert page.count("<svg") == 4 and "The study gives one alpha, 100, so none was chosen." in page
    assert "true predicts S1 best" in capsys.readouterr().err
    study.write_text(study.read_text().partition("[[features]]")[0] + '[[features]]\nkind = "word-rate"\n')
    page = encode(study, ["out=one"]).read_text(encoding="utf-8")
    assert "word-rate predicts S1 with a mean r of" in page and "best" not in page.split("</h1>")[0].split("<h1>")[1]
    account = json.loads((study.parent / "one" / "encoding.json").read_text())
    assert account["best"]["S1"]["others"] == [] and account["best"]["S1"]["tested"] is False


@pytest.mark.parametrize(
    ("stories", "spaces", "headline"),
    [
        (7, ["true"], "true predicts S1 with a mean r of"),
        (7, ["true", "same"], "true predicts S1 best, but is not shown to be better than same"),
        (5, ["true", "other"], "true has the highest mean r in S1, not tested (5 stories, a test needs 6)"),
        (101, ["true", "other"], "true predicts S1 best"),
    ],
)
def test_the_headline_of_the_page(tmp_path: Path, stories: int, spaces: list[str], headline: str) -> None:
    make_lab(tmp_path, stories)
    shutil.copy(tmp_path / "true.txt", tmp_path / "same.txt")
    head, encoding = STUDY[: STUDY.index("[[features]]")], STUDY[STUDY.index("[encode]") :]
    paths = json.dumps([f"{name}.txt" for name in spaces])
    file = tmp_path / "study.toml"
    file.write_text(f'{head}[[features]]\nkind = "vectors"\npath = {paths}\n{encoding}')
    page = encode(file, ["encode.permutations=0"]).read_text(encoding="utf-8")
    shown = page.split("<h1>")[1].split("</h1>")[0]
    assert shown == headline if len(spaces) > 1 else shown.startswith(headline)
    assert len(spaces) > 1 or "best" not in shown


def test_scores_of_an_earlier_format_are_made_anew(study: Path) -> None:
    """Their p values were counted, and end at 1 / (permutations + 1)."""
    out = encode(study).parent
    path = out / "scores" / "S1" / "true.h5"
    before = read(path)
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "encoderlab-scores/2"
        del file["p"]
        file["p"] = np.full(VOXELS, 1 / 201)
    assert read(path) is None
    encode(study)
    after = read(path)
    assert before is not None and after is not None
    np.testing.assert_array_equal(after.p, before.p)


def test_a_second_call_computes_nothing(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = encode(study)

    def kept() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in first.parent.rglob("*.h5") if p.parent.name != "comparisons"}

    before = kept()
    page = first.read_bytes()
    assert len(before) == 4 + 4

    def fail(*args: Any, **named: Any) -> Any:
        raise AssertionError("scored again")

    monkeypatch.setattr(score, "score", fail)
    assert encode(study).read_bytes() == page
    assert kept() == before
    encode(study, ["encode.q=0.01", 'encode.reference="true"'])  # what is read of the same scores
    with pytest.raises(AssertionError, match="scored again"):
        encode(study, ["encode.block=5"])


def test_changed_responses_are_scored_again(study: Path) -> None:
    out = encode(study).parent
    before = table(out)
    rows = np.load(study.parent / "S1" / "tale3.npy")
    np.save(study.parent / "S1" / "tale3.npy", -rows)
    encode(study)
    assert table(out)["true"]["mean"] != before["true"]["mean"]


def test_a_missing_voxel_costs_that_story_and_voxel_alone(study: Path) -> None:
    path = study.parent / "S1" / "tale2.npy"
    rows = np.load(path)
    rows[5, 1] = np.nan
    np.save(path, rows)
    held = read(encode(study).parent / "scores" / "S1" / "true.h5")
    assert held is not None and np.isnan(held.scores).sum() == 1 and np.isnan(held.scores[2, 1])
    assert not np.isnan(held.mean).any() and any("1 (story, voxel) pairs are not measured" in n for n in held.notes)


def test_a_vocabulary_is_of_the_training_stories(study: Path) -> None:
    """A word that is common in one story only is no column when that story is held out."""
    stories = [
        Story(name=n, words=w, times=np.arange(30.0), tr_times=np.arange(-9.0, 40, 2))
        for n, w in (("a", ("x",) * 20 + ("y",) * 10), ("b", ("y",) * 16 + ("z",) * 14), ("c", ("z",) * 30))
    ]
    save(stories, study.parent / "stories.parquet")
    (study.parent / "few.toml").write_text(
        'out = "few"\n[stories]\npath = "stories.parquet"\n[[features]]\nkind = "bag-of-words"\n'
    )
    with pytest.raises(SystemExit):
        main(["embed", str(study.parent / "few.toml")])
    file = open_vectors(study.parent / "few" / "vectors" / "bag-of-words.h5")
    assert file.vocabulary == ["z", "y", "x"]
    bag = Counted(label="bag", kind="bag-of-words", file=file, feature=BagOfWords(size=2))
    numbers = [file.read(name)[:, 0] for name in "abc"]
    assert [file.vocabulary[i] for i in bag.columns(numbers)] == ["z", "y"]
    assert [file.vocabulary[i] for i in bag.columns([numbers[0], numbers[1]])] == ["y", "x"]
    plain = Design(trim=(0, 0), delays=(0,), zscore=False, downsample="sum")
    without = bag.rows(stories, plain, held_out=[2])
    assert without[0].sum(axis=0).tolist() == [10, 20] and without[2].sum() == 0


def test_the_rank_sweep_and_its_leakage_choices(
    study: Path, tiny_masked_lm: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_masked_lm("bert")
    (study.parent / "mlm.toml").write_text(
        f"""
model = "{model}"
seeds = [0]
[task]
kind = "masked-lm"
[data]
train = {{ path = "stories.parquet" }}
validation = {{ fraction = 0.2 }}
test = {{ fraction = 0.2 }}
[train]
epochs = 1
max_length = 40
[search]
candidates = 1
[[method]]
name = "lora"
rank = [2, 4]
"""
    )
    text = f"{STUDY}\n".replace(
        '[[features]]\nkind = "word-length"', f'[[features]]\nkind = "encoder"\nmodel = "{model}"\nstudy = "mlm.toml"'
    )
    study.write_text(text)
    with pytest.raises(InputError, match="no runs yet; run `encoderlab compare .*mlm.toml` first"):
        encode(study)
    compare(study.parent / "mlm.toml")
    out = encode(study).parent
    rows = table(out)
    assert list(rows)[-3:] == ["bert", "bert + lora rank=2", "bert + lora rank=4"]
    assert rows["bert + lora rank=2"]["mean"] != rows["bert"]["mean"]
    assert "rank" in (out / "report.html").read_text(encoding="utf-8")

    seen: list[set[str]] = []
    original = adapter_sweep.retrain

    def spy(adapted: Any, stories: Any, folder: Any) -> Any:
        seen.append({story.name for story in stories})
        return original(adapted, stories, folder)

    monkeypatch.setattr("encoderlab.brain.encoding.encode.retrain", spy)
    strict = encode(study, ["encode.adapt=without held-out", f"out={study.parent / 'strict'}"]).parent
    everyone = {f"tale{i}" for i in range(7)}
    left_out = [everyone - names for names in seen]
    assert {frozenset(names) for names in left_out} == {
        frozenset({"tale0", "tale3", "tale6"}), frozenset({"tale1", "tale4"}), frozenset({"tale2", "tale5"})
    }  # fmt: skip
    assert table(strict)["bert"]["mean"] == rows["bert"]["mean"]
    assert table(strict)["bert + lora rank=4"]["mean"] != rows["bert + lora rank=4"]["mean"]


def test_no_choice_sees_the_scored_story(study: Path) -> None:
    """Through the command: other responses of a story leave its alpha where it was, whatever the feature space."""
    before = read(encode(study).parent / "scores" / "S1" / "bag-of-words.h5")
    path = study.parent / "S1" / "tale4.npy"
    np.save(path, np.random.default_rng(5).normal(size=np.load(path).shape) * 7)
    after = read(encode(study).parent / "scores" / "S1" / "bag-of-words.h5")
    assert before is not None and after is not None
    np.testing.assert_array_equal(before.alphas[4], after.alphas[4])
    assert (before.scores[4] != after.scores[4]).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("responses.S1=nowhere", "responses.S1: .*nowhere: no such file or folder"),
        (
            "encode.trim=[10, 4]",
            r"S1: story 'tale0': 61 rows of features after leaving out the first 10 and the last 4",
        ),
        ('stories.names=["tale0", "tale1"]', "2 stories have words and responses; expected three"),
        ("encode.reference=nothing", "no feature space"),
        ("encode.folds=40", "k-fold: 40 folds of 7 stories"),
    ],
)
def test_wrong_input_is_one_line(study: Path, change: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["encode", str(study), "-s", change])
    assert stop.value.code == 2
    import re

    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("encoderlab: ")]
    assert re.search(says, "\n".join(errors)), errors


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(words)
    return int(stop.value.code or 0)


def test_check_says_what_would_be_done(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("check", str(study), "-s", "encode.folds=3", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["stories"], said["words"], said["warnings"]) == (7, 2100, [])
    assert said["subjects"] == {"S1": {"stories": 7, "trs": 7 * 60 + sum(range(7)), "voxels": VOXELS, "folds": 3}}
    kinds = [("bag-of-words", "3 words and their number"), ("vectors", "true.txt"), ("vectors", "other.txt")]
    assert [tuple(row[1:]) for row in said["features"]] == [*kinds, ("word-length", "")]
    assert said["fits"] == 3 * 4 and said["delays"] == [1, 2, 3, 4] and said["alphas"] == [100, 1e8, 13]
    assert command("check", str(study), "-s", "encode.banded=true") == 0
    shown = capsys.readouterr().out
    assert "all spaces, banded" in shown and f"{7 * 5} fits" in shown
    assert not (study.parent / "results").exists()


def test_check_without_responses_is_for_embed_alone(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(STUDY.replace('[responses]\nS1 = "S1"\n', ""))
    assert command("check", str(study)) == 0
    assert "warning: the study has no [responses]: `encoderlab embed` works without" in capsys.readouterr().out


def test_what_was_settled_of_an_encoder_is_said(
    study: Path, tiny_model: Callable[[str], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = tmp_path / "decoder"
    shutil.copytree(tiny_model("bert"), model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"is_decoder": True}))
    study.write_text(STUDY + f'[[features]]\nkind = "encoder"\nmodel = "{model}"\n')
    assert command("embed", str(study)) == 0
    assert "is_decoder" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: "))


def test_check_reports_every_problem_at_once(
    study: Path, tiny_model: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = f'[[features]]\nkind = "encoder"\nmodel = "{tiny_model("bert")}"\n'
    unread = f'{encoder}layer = 7\n{encoder}study = "mlm.toml"\n{encoder}adapter = "nowhere"\n'
    study.write_text(
        STUDY.replace('S1 = "S1"', 'S1 = "S1"\nS2 = "S2"').replace("other.txt", "gone.txt")
        + "delay = 3\n[launch]\nvoxels = 0\n"
        + unread
    )
    (study.parent / "S1" / "tale3.npy").unlink()
    assert command("check", str(study), "-s", "stories.path=lost.parquet") == 2
    err = capsys.readouterr().err
    for said in (
        *("encode.delay: unknown key", "launch.voxels: expected", "responses.S2: ", "lost.parquet: no such file"),
        *("gone.txt: no such file", "mlm.toml: no such file", "layer", "nowhere"),
    ):
        assert said in err, (said, err)
    assert all(line.startswith("encoderlab: ") for line in err.splitlines())

    study.write_text(STUDY)
    assert command("check", str(study), "-s", "encode.trim=[10, 4]", "-s", "encode.reference=nothing") == 2
    lines = capsys.readouterr().err.splitlines()
    assert ["no responses: tale3" in line for line in lines].count(True) == 1
    assert any("story 'tale0': 61 rows of features" in line for line in lines)
    assert any("encode.reference" in line for line in lines)


def test_only_a_fine_tuning_study_is_timed(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("check", str(study), "--time") == 2
    assert "--time: " in capsys.readouterr().err


def test_adapters_without_held_out_stories_need_a_cut(study: Path, tiny_masked_lm: Callable[[str], Path]) -> None:
    """Said before anything is computed."""
    model = tiny_masked_lm("bert")
    (study.parent / "mlm.toml").write_text(
        f'model = "{model}"\n[task]\nkind = "masked-lm"\n[data]\ntrain = "stories.parquet"\n'
        'test = "stories.parquet"\n[[method]]\nname = "lora"\n'
    )
    feature = f'[[features]]\nkind = "encoder"\nmodel = "{model}"\nstudy = "mlm.toml"\n'
    study.write_text(STUDY.replace("[encode]", feature + '[encode]\nadapt = "without held-out"'))
    with pytest.raises(InputError, match=r"mlm.toml: data.test has its own source; .*needs a share"):
        encode(study)
    assert not (study.parent / "results").exists()


def test_stories_without_responses(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study.parent / "S1" / "tale6.npy").unlink()
    with pytest.raises(InputError, match=r"S1: 1 stories have no responses: tale6; .*encode.unmatched = \"leave out\""):
        encode(study)
    out = encode(study, ["encode.unmatched=leave out"]).parent
    assert table(out)["true"]["stories"] == "6"
    assert "no responses: tale6; left out" in (out / "report.html").read_text(encoding="utf-8")


def test_the_command_prints_the_table_and_the_path(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["encode", str(study), "-s", "encode.permutations=0"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1].endswith("report.html") and "true" in out
    assert table(study.parent / "results" / "study")["true"]["significant"] == ""


def test_the_scores_file_says_what_it_is(study: Path) -> None:
    out = encode(study).parent
    with h5py.File(out / "scores" / "S1" / "true.h5") as file:
        assert file.attrs["scheme"] == "nested" and file.attrs["convention"] == "squared-norm"
        assert file.attrs["permutations"] == 200 and file.attrs["block"] == 20


def test_banded_ridge_over_all_spaces(study: Path) -> None:
    out = encode(study, ["encode.banded=true", "encode.alphas=[1, 100]"]).parent
    rows = table(out)
    joint = rows["all spaces, banded"]
    assert float(joint["mean"]) > float(rows["other"]["mean"]) and joint["significant"] == ""
    held = read(out / "scores" / "S1" / "all-spaces-banded.h5")
    assert held is not None and held.spaces == ["bag-of-words", "true", "other", "word-length"]
    np.testing.assert_allclose(held.split.sum(axis=0), held.mean, atol=1e-4)
    assert held.split.mean(axis=1).argmax() == 1, "most of it comes from the space that made the responses"
    assert "Contribution of each space" in (out / "report.html").read_text(encoding="utf-8")


def test_the_reference_pipeline(study: Path) -> None:
    """As the laboratory's functions would be called by hand."""
    from encoderlab.brain.ridge.huth_pipeline import bootstrap_ridge, stacked_features
    from encoderlab.brain.stories.read import read as read_stories

    text = STUDY.replace("[encode]", '[encode]\nconvention = "huth"\nalphas = [1, 10, 100]') + (
        '[reference]\ntest = ["tale5", "tale6"]\nboots = 5\nchunk = 10\nchunks = 6\n'
    )
    study.write_text(text)
    rows = table(encode(study).parent)
    stories = read_stories(study.parent / "stories.parquet")
    vectors = read_vectors(study.parent / "true.txt", set(WORDS))
    plain = Design(trim=(0, 0), zscore=False, delays=(0,))
    features = [plain.rows(s.name, vectors.of(s)[0], s.times, s.tr_times) for s in stories]
    responses = [np.load(study.parent / "S1" / f"{s.name}.npy") for s in stories]
    found = bootstrap_ridge(
        stacked_features(features[:5], (1, 2, 3, 4)),
        np.vstack(responses[:5]),
        stacked_features(features[5:], (1, 2, 3, 4)),
        np.vstack(responses[5:]),
        [1, 10, 100],
        nboots=5,
        chunklen=10,
        nchunks=6,
        seed=0,
    )
    assert float(rows["true"]["mean"]) == pytest.approx(found.correlations.mean(), abs=1e-6)
    with pytest.raises(InputError, match='encode.convention: the laboratory.*"huth"'):
        encode(study, ["encode.convention=squared-norm"])
    with pytest.raises(InputError, match="reference.test: S1 has no story 'nobody'"):
        encode(study, ['reference.test=["nobody"]'])


def test_adapters_leave_out_the_stories_of_each_subject(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two subjects with different stories: nobody's scored story trains the adapter that predicts it."""
    from encoderlab.brain.encoding.design_rows import Retrained
    from encoderlab.brain.ridge.folds import Folds
    from encoderlab.brain.stories.read import read as read_stories

    stories = read_stories(study.parent / "stories.parquet")
    asked: list[frozenset[str]] = []

    class File:
        def read(self, name: str) -> np.ndarray:
            return np.random.default_rng(1).normal(size=(300, 2))

    def files(names: frozenset[str]) -> Any:
        asked.append(names)
        return File()

    source = Retrained(label="x", kind="encoder", files=files, size=2, depends="")
    mine = [stories[i] for i in (1, 3, 4, 6)]
    folds = Folds.leave_one_out(4)
    for only in score.groups_of(folds, 2):
        source.rows(mine, Design(), [story for fold in only for story in folds.held_out[fold]])
    assert asked == [{"tale1", "tale4"}, {"tale3", "tale6"}]


@pytest.mark.parametrize("level", [1.0, 1000.0])
def test_the_level_of_the_responses_does_not_matter(study: Path, level: float) -> None:
    before = float(table(encode(study, ["encode.permutations=0"]).parent)["true"]["mean"])
    for path in (study.parent / "S1").glob("*.npy"):
        np.save(path, np.load(path) + level)
    after = float(table(encode(study, ["encode.permutations=0"]).parent)["true"]["mean"])
    assert after == pytest.approx(before, abs=1e-4)


def test_labels_that_would_be_one_file(study: Path) -> None:
    two = 'path = "true.txt"\nlabel = "a b"\n[[features]]\nkind = "vectors"\npath = "other.txt"\nlabel = "A/b"'
    text = STUDY.replace('path = ["true.txt", "other.txt"]', two)
    study.write_text(text)
    with pytest.raises(InputError, match="the labels 'a b' and 'A/b' would have the same file"):
        encode(study)


def test_the_scan_of_a_text_file_is_that_of_its_responses(study: Path) -> None:
    """A TSV knows nothing of the scan: its TRs are as many as the responses say, trimmed ones included."""
    from encoderlab.brain.stories.read import read as read_stories

    folder = study.parent / "tsv"
    folder.mkdir()
    for story in read_stories(study.parent / "stories.parquet"):
        lines = [f"{t - 0.1:.4f}\t0.2\t{w}" for t, w in zip(story.times, story.words, strict=True)]
        (folder / f"{story.name}.tsv").write_text("onset\tduration\tword\n" + "\n".join(lines) + "\n")
    rows = table(encode(study, ["stories.path=tsv", "encode.permutations=0"]).parent)
    assert float(rows["true"]["mean"]) > 0.5
    with pytest.raises(InputError, match=r"stories.tr: .*stories.parquet has TR times of its own"):
        encode(study, ["stories.tr=1.5"])


def test_nothing_to_score_is_a_report_too(study: Path) -> None:
    for path in (study.parent / "S1").glob("*.npy"):
        np.save(path, np.ones_like(np.load(path)))
    out = encode(study, ["encode.permutations=0"]).parent
    assert table(out)["true"]["mean"] == "" and (out / "report.html").is_file()


def kept_scores(out: Path) -> dict[str, dict[str, np.ndarray]]:
    return {
        str(path.relative_to(out)): {name: getattr(found, name) for name in score.ARRAYS}
        for path in sorted(out.glob("scores/*/*.h5"))
        if (found := score.read(path)) is not None
    }


def test_scores_that_are_written_over_are_one_line(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a worker of an earlier command, with other settings."""
    monkeypatch.setattr("encoderlab.brain.encoding.scoring_jobs.Scoring.__call__", lambda work, spec: [])
    with pytest.raises(
        EncoderlabError, match=r"scores/.*\.h5: removed or overwritten before .*; run the same command again"
    ):
        encode(study)


def test_pieces_of_voxels_in_processes_give_what_one_process_gives(study: Path) -> None:
    """Bit for bit, with the same pieces; against the whole brain at once within the rounding of its products, which can
    also choose another alpha for a voxel of noise."""
    whole = kept_scores(encode(study).parent)
    here = kept_scores(encode(study, ["out=here", "launch.voxels=7"]).parent)
    there = encode(
        study, ["out=there", "launch.voxels=7", "launch.on=processes", "launch.workers=2", "launch.threads=1"]
    )
    sent = kept_scores(there.parent)
    assert list(sent) == list(here) == list(whole) and len(whole) > 2
    for name, arrays in whole.items():
        for key, array in arrays.items():
            np.testing.assert_array_equal(sent[name][key], here[name][key])
            if key in ("scores", "mean", "pooled", "curve"):
                np.testing.assert_allclose(sent[name][key], array, rtol=0, atol=1e-4)
    assert not list(there.parent.glob("scores/*/pieces/*.h5")) and not (there.parent / "launch").exists()
    rows = [table(out) for out in (there.parent, study.parent / "here")]
    for row in [*rows[0].values(), *rows[1].values()]:
        row.pop("seconds")
    assert rows[0] == rows[1]
