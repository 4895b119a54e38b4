"""What `encoderlab encode` chooses, it chooses without the story that is scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from encoderlab.brain.vectors.vectors_file import open_vectors
from encoderlab.cli.app import main
from encoderlab.core.errors import InputError
from encoderlab.study.compare import compare
from fixtures_encode import STUDY, study, table  # noqa: F401  (a fixture)


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
