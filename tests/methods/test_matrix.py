"""The contract of docs/design.md, for every method on every family, on one text and on pairs.

What a method does to a model is measured once (`Cell`), from the insertion to the merged model, and looked at for each
kind of input. What it saves is also loaded in another process, where every logit must be the same to the bit.

The default suite holds every method on BERT and a few methods on each other model (`fixtures_cells`). The others are
`slow`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from encoderlab.adapters import folder as adapters
from encoderlab.engine.runner import ModelRunner
from encoderlab.methods.base import Method
from encoderlab.methods.full import Full
from encoderlab.methods.head import Head
from encoderlab.model import load as model_load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES
from fixtures_cells import cells, rows
from fixtures_methods import CASES, CHANGES_STEP_0, CLASSES, IN_PLACE, REFUSED
from fixtures_reload import EXPECTED, copied
from supported_page import PAGE, page

CLASSIFICATION, CHOICE = "AutoModelForSequenceClassification", "AutoModelForMultipleChoice"
KINDS = ("text", "pair")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A family's model under a head; `masked_lm`: from the checkpoint of a masked LM, which has no pooler."""

    family: str
    head: str = CLASSIFICATION
    masked_lm: bool = False


SETTINGS = {
    **{family: Setting(family=family) for family in FAMILIES},
    "bert from a masked LM": Setting(family="bert", masked_lm=True),
    "roberta multiple choice": Setting(family="roberta", head=CHOICE, masked_lm=True),
    "deberta-v2 multiple choice": Setting(family="deberta-v2", head=CHOICE, masked_lm=True),
}
FRESH_POOLERS = ["bert from a masked LM", "roberta multiple choice", "deberta-v2", "deberta-v2 multiple choice"]


@dataclass(kw_only=True)
class Cell:
    """One method on one model: the logits of each kind of input, and what became of the parameters."""

    problems: list[str]
    folder: Path
    before: dict[str, Tensor] = field(default_factory=dict)  # of the model as it was loaded
    inserted: dict[str, Tensor] = field(default_factory=dict)
    trained: dict[str, Tensor] = field(default_factory=dict)
    unfilled: dict[str, Tensor] = field(default_factory=dict)  # of another model, with another head
    loaded: dict[str, Tensor] = field(default_factory=dict)  # of that model with the adapter in it
    merged: dict[str, Tensor] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)  # the model's own parameters
    heads: set[str] = field(default_factory=set)
    trainable: set[str] = field(default_factory=set)
    unreached: dict[str, set[str]] = field(default_factory=dict)  # trainable without a gradient
    moved: set[str] = field(default_factory=set)  # frozen and changed


def inputs(encoder: EncoderModel, kind: str) -> dict[str, Tensor]:
    """Four texts or pairs of different lengths; for multiple choice, two questions of two."""
    texts: Any = ["a good film", "the plot was not very good and the acting bad", "bad", "not the plot"]
    second: Any = ["not bad", "a film", "the acting was good", "good good good"] if kind == "pair" else None
    given = encoder.tokenizer(texts, second, padding=True, return_tensors="pt")
    choice = type(encoder.model).__name__.endswith("ForMultipleChoice")
    return {name: t.view(2, 2, -1) if choice else t for name, t in given.items()}


@torch.no_grad()
def logits(encoder: EncoderModel) -> dict[str, Tensor]:
    return {kind: encoder.model(**inputs(encoder, kind)).logits for kind in KINDS}


def backward(encoder: EncoderModel, kind: str) -> None:
    answers = encoder.model(**inputs(encoder, kind)).logits
    torch.nn.functional.cross_entropy(answers, torch.arange(len(answers)) % answers.size(1)).backward()


def measure(plain: EncoderModel, other: EncoderModel, method: Method, folder: Path) -> Cell:
    """`plain` and `other`: the same encoder with heads of two seeds; neither is changed."""
    cell = Cell(problems=method.problems(plain), folder=folder)
    if cell.problems:
        return cell
    cell.before = logits(plain)
    pretrained = dict(plain.model.named_parameters())
    cell.names, cell.heads = set(pretrained), {name for name in pretrained if plain.is_head(name)}

    tuned = copied(plain)
    method.inject(tuned, 0)
    parameters = dict(tuned.trainable())
    cell.inserted, cell.trainable = logits(tuned), set(parameters)
    for kind in KINDS:
        backward(tuned, kind)
        cell.unreached[kind] = {name for name, p in parameters.items() if p.grad is None}
        tuned.model.zero_grad()
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=1e-2)
    for kind in (*KINDS, *KINDS):  # so that nothing is zero any more
        backward(tuned, kind)
        optimizer.step()
        optimizer.zero_grad()
    cell.trained = logits(tuned)
    cell.moved = {
        name
        for name, p in tuned.model.named_parameters()
        if name in pretrained and name not in parameters and not torch.equal(p, pretrained[name])
    }

    adapters.save(tuned, method, adapters.adapter_tensors(tuned), folder)
    expected = {f"{kind}.{n}": t for kind in KINDS for n, t in inputs(tuned, kind).items()}
    save_file(expected | {f"{kind}.logits": t for kind, t in cell.trained.items()}, folder / EXPECTED)
    loaded = copied(other)
    cell.unfilled = logits(loaded)
    adapters.load_adapter(loaded, folder)
    cell.loaded = logits(loaded)
    method.merge(loaded)
    cell.merged = logits(loaded)
    return cell


Load = Callable[..., EncoderModel]
Measured = Callable[[str, Method], Cell]


@pytest.fixture(scope="session")
def load(tiny_model: Callable[[str], Path], tiny_masked_lm: Callable[[str], Path]) -> Load:
    """load(setting, seed) -> its model, to be copied."""
    made: dict[tuple[str, int], EncoderModel] = {}

    def get(name: str, seed: int = 0) -> EncoderModel:
        if (name, seed) not in made:
            setting = SETTINGS[name]
            folder = (tiny_masked_lm if setting.masked_lm else tiny_model)(setting.family)
            made[name, seed] = model_load.load(str(folder), head=setting.head, class_names=CLASSES, seed=seed)
            made[name, seed].model.eval()
        return made[name, seed]

    return get


@pytest.fixture(scope="session")
def measured(load: Load, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """measured(setting, method) -> its cell."""
    made: dict[tuple[str, str], Cell] = {}
    root = tmp_path_factory.mktemp("cells")

    def get(name: str, method: Method) -> Cell:
        key = (name, repr(method))
        if key not in made:
            folder = root / f"{len(made)}"
            folder.mkdir()
            made[key] = measure(load(name), load(name, 7), method, folder)
        return made[key]

    return get


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("setting", "method"), cells(SETTINGS, CASES))
def test_contract(setting: str, method: Method, kind: str, measured: Measured) -> None:
    cell = measured(setting, method)
    if any("not installed" in problem for problem in cell.problems):
        pytest.skip(cell.problems[0])
    refused = (method.name, SETTINGS[setting].family) in REFUSED
    assert bool(cell.problems) == refused, cell.problems
    if refused:
        assert len(cell.problems) == 1 and "\n" not in cell.problems[0]
        return

    changed = not torch.allclose(cell.inserted[kind], cell.before[kind], rtol=0, atol=1e-6)
    assert changed == isinstance(method, CHANGES_STEP_0)

    own = cell.trainable - cell.names
    assert cell.heads and cell.heads <= cell.trainable
    if isinstance(method, Full):
        assert cell.trainable == cell.names
    elif isinstance(method, Head):
        assert cell.trainable == cell.heads
    elif isinstance(method, IN_PLACE):
        assert not own and cell.trainable - cell.heads
    else:
        assert own and cell.trainable & cell.names == cell.heads
    assert not cell.unreached[kind]
    assert not cell.moved

    assert not torch.allclose(cell.trained[kind], cell.before[kind], atol=1e-4)
    assert not torch.equal(cell.unfilled[kind], cell.trained[kind])
    assert torch.equal(cell.loaded[kind], cell.trained[kind])
    torch.testing.assert_close(cell.merged[kind], cell.trained[kind], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("setting", "methods"), rows(SETTINGS, CASES))
def test_bf16_reaches_every_trained_parameter_in_fp32(setting: str, methods: list[Method], load: Load) -> None:
    for method in methods:
        tuned = copied(load(setting))
        if method.problems(tuned):
            continue
        method.inject(tuned, 0)
        run = ModelRunner(tuned, torch.bfloat16, torch.device("cpu"))
        run.train()
        answers = run(**inputs(tuned, "pair"))
        assert answers.dtype == torch.float32 and answers.isfinite().all(), method
        torch.nn.functional.cross_entropy(answers, torch.arange(len(answers)) % answers.size(1)).backward()
        for name, parameter in tuned.trainable():
            grad = parameter.grad
            assert grad is not None and grad.dtype == torch.float32 and grad.isfinite().all(), (method, name)


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[subprocess.Popen[str]]:
    """The process of `fixtures_reload`."""
    script = Path(__file__).resolve().parents[1] / "fixtures_reload.py"
    with subprocess.Popen([sys.executable, str(script)], stdin=-1, stdout=-1, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize(("setting", "methods"), rows(SETTINGS, CASES))
def test_round_trip_in_a_fresh_process(
    setting: str, methods: list[Method], measured: Measured, load: Load, elsewhere: subprocess.Popen[str]
) -> None:
    found = {repr(method): measured(setting, method) for method in methods}
    folders = {case: str(cell.folder) for case, cell in found.items() if not cell.problems}
    family = SETTINGS[setting].family
    assert folders.keys() == {repr(method) for method in methods if (method.name, family) not in REFUSED}
    asked = {"model": load(setting).name, "head": SETTINGS[setting].head, "classes": CLASSES}
    assert elsewhere.stdin is not None and elsewhere.stdout is not None
    print(json.dumps({**asked, "adapters": list(folders.values())}), file=elsewhere.stdin, flush=True)
    equal = json.loads(elsewhere.stdout.readline())
    assert {case: equal[folder] for case, folder in folders.items()} == {case: sorted(KINDS) for case in folders}


@pytest.mark.parametrize(
    ("setting", "methods"), [row for row in rows(SETTINGS, CASES) if row.values[0] in FRESH_POOLERS]
)
def test_a_fresh_pooler_is_trained_saved_and_in_every_file(
    setting: str, methods: list[Method], load: Load, measured: Measured
) -> None:
    pooler = "pooler.dense.weight"
    (name,) = (name for name in load(setting).newly_initialized if name.endswith(pooler))
    for method in methods:
        cell = measured(setting, method)
        if not cell.problems:
            assert name in cell.heads and name in cell.trainable
            assert any(saved.endswith(pooler) for saved in load_file(cell.folder / "adapter_model.safetensors"))


def test_the_page_of_what_is_supported_is_up_to_date(load: Load) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(load), "run: python tests/supported_page.py"
