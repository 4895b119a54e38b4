"""Contextual word vectors against a slow reference: one window at a time, a loop over the words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer, UnigramTrainer

from encoderlab.adapters import folder as adapters
from encoderlab.brain.vectors.contextual import story_vectors, word_vectors
from encoderlab.brain.vectors.subwords import subwords, word_tokenizer
from encoderlab.brain.vectors.windows import Windows
from encoderlab.core.errors import InputError
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.lora import Lora
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES
from encoderlab.model.load import load
from encoderlab.tasks.windows import spans
from fixtures_cells import cells

VOCABULARY = "the film was not very good and acting plot bad a i don't".split()


def tale(words: int, seed: int = 0) -> list[str]:
    """Words of one and of several pieces, empty ones, emoji, control characters."""
    odd = ["", "\U0001f642", "\u200b", "unbelievably", "caf\u00e9", "it's", " "]
    rng = np.random.default_rng(seed)
    return [str(rng.choice(VOCABULARY + odd)) for _ in range(words)]


def slow(words: Sequence[str], encoder: EncoderModel, layer: int, size: int, stride: int, combine: str) -> np.ndarray:
    """The definition, spelt out: every window by itself, every word by a loop over the tokens."""
    tokenizer, top = encoder.tokenizer, encoder.model.config.num_hidden_layers
    made = word_tokenizer(tokenizer).encode(list(words), is_pretokenized=True, add_special_tokens=False)
    ids, owner, n = made.ids, made.word_ids, len(made.ids)
    starts = []
    while n:
        start = (starts[-1] + stride) if starts else 0
        starts.append(min(start, max(0, n - size)))
        if starts[-1] + size >= n:
            break
    out = np.zeros((len(words), encoder.model.config.hidden_size))
    states = {}
    for start in starts:
        window = ids[start : start + size]
        inputs = torch.tensor([[tokenizer.cls_token_id, *window, tokenizer.sep_token_id]])
        with torch.no_grad():
            hidden = encoder.model(input_ids=inputs, output_hidden_states=True)
        layered = hidden.last_hidden_state if layer == top else hidden.hidden_states[layer]
        states[start] = layered[0, 1:-1].double().numpy()
    for word in range(len(words)):
        mine = [t for t in range(n) if owner[t] == word]
        if not mine:
            continue
        vectors, weights = [], []
        for start in starts:
            end = min(start + size, n)
            if start <= mine[0] and mine[-1] < end:
                vectors.append(np.mean([states[start][t - start] for t in mine], axis=0))
                left = mine[0] - start + 1 if start > 0 else end - start
                right = end - mine[-1] if end < n else end - start
                weights.append(min(left, right, end - start))
        if not vectors:  # longer than any window
            each = [[states[s][t - s] for s in starts if s <= t < s + size] for t in mine]
            out[word] = np.mean([np.mean(one, axis=0) for one in each], axis=0)
        elif combine == "central":
            out[word] = vectors[int(np.argmax(weights))]
        else:
            out[word] = np.average(vectors, axis=0, weights=weights if combine == "weighted" else None)
    return out


def bare(folder: Path) -> EncoderModel:
    encoder = load(str(folder), head="AutoModel", class_names=[], seed=0)
    encoder.model.eval()
    return encoder


@pytest.mark.parametrize(("family", "combine"), cells(FAMILIES, ["mean", "weighted", "central"], each=1))
def test_against_the_slow_reference(tiny_model: Callable[[str], Path], family: str, combine: Any) -> None:
    encoder = bare(tiny_model(family))
    windows = Windows(window=24, stride=9, combine=combine, batch_tokens=100)
    stories = [tale(1), tale(10), [], tale(90, 1), ["x" * 60, *tale(12), "y" * 40], [""], tale(25, 2), tale(22, 3)]
    found = list(story_vectors(stories, encoder, layers=(0, 1, -1), windows=windows))
    assert [one.vectors.shape for one in found] == [(3, len(words), 32) for words in stories]
    for words, one in zip(stories, found, strict=True):
        for i, layer in enumerate((0, 1, 2)):
            expected = slow(words, encoder, layer, 22, 9, combine)
            np.testing.assert_allclose(one.vectors[i], expected, atol=1e-5, rtol=0)
        assert one.empty == sum(not vector.any() for vector in one.vectors[2])
    assert found[4].windows > 6 and found[5].windows == 0 and found[5].empty == 1


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert"])
@pytest.mark.parametrize("words", [1, 10, 511, 513, pytest.param(5000, marks=pytest.mark.slow)])
def test_whole_windows(family: str, words: int, tmp_path: Path) -> None:
    """512 positions, stories around a window's size, with a word of 600 subwords."""
    encoder = bare(big_model(family, tmp_path))
    story = tale(words, words)
    story[words // 2] = "z" * 600
    vectors = word_vectors(story, encoder)
    assert vectors.shape == (words, 32) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, slow(story, encoder, 2, 510, 256, "mean"), atol=1e-5, rtol=0)
    assert np.abs(vectors[words // 2]).max() > 0


def big_model(family: str, folder: Path) -> Path:
    """As `tiny_model`, with positions for 512 tokens."""
    import conftest

    rows = {"roberta": 514}.get(family, 512)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(conftest.SHAPES, family, conftest.SHAPES[family] | {"max_position_embeddings": rows})
        return conftest.build_tiny_model(family, folder / family)


def test_the_tokens_are_those_of_the_joined_text(shared: Path) -> None:
    """What word-by-word tokenizing must not change, for the three kinds of tokenizers there are."""
    text = "The film wasn't good , at all and I don't know why caf\u00e9 \U0001f642 unbelievably so".split()
    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    byte_level.train_from_iterator(
        [" ".join(text)] * 3,
        BpeTrainer(vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False),
    )
    pieces = Tokenizer(models.Unigram())
    pieces.normalizer = normalizers.NFKC()  # type: ignore[assignment]
    pieces.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")  # type: ignore[assignment]
    pieces.train_from_iterator(
        [" ".join(text)] * 3,
        UnigramTrainer(vocab_size=80, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False),
    )
    word_piece = Tokenizer.from_file(str(shared / "weights/bert-tiny-mlm/tokenizer.json"))
    for tokenizer, joined in [
        (byte_level, " " + " ".join(text)),
        (pieces, " ".join(text)),
        (word_piece, " ".join(text)),
    ]:

        class Wrapped:
            backend_tokenizer = tokenizer

        split = subwords(text, word_tokenizer(Wrapped), None)
        assert split.ids.tolist() == tokenizer.encode(joined, add_special_tokens=False).ids
        assert sorted(set(split.word.tolist())) == list(range(len(text)))


@pytest.mark.parametrize(
    ("tokens", "size", "stride", "expected"),
    [
        (0, 10, 5, []),
        (1, 10, 5, [(0, 1)]),
        (10, 10, 5, [(0, 10)]),
        (11, 10, 5, [(0, 10), (1, 11)]),
        (15, 10, 5, [(0, 10), (5, 15)]),
        (16, 10, 5, [(0, 10), (5, 15), (6, 16)]),
        (30, 10, 10, [(0, 10), (10, 20), (20, 30)]),
    ],
)
def test_spans(tokens: int, size: int, stride: int, expected: list[tuple[int, int]]) -> None:
    assert spans(tokens, size, stride) == expected


def test_spans_without_short_tails() -> None:
    assert spans(7, 10, 5, 8) == [] and spans(8, 10, 5, 8) == [(0, 8)]
    assert spans(17, 10, 10, 8) == [(0, 10)] and spans(18, 10, 10, 8) == [(0, 10), (8, 18)]


@pytest.mark.parametrize(
    "method", [Lora(rank=2), Adapter(), Prefix(length=3), Prompt(length=3), Prompt(length=3, placement="front")]
)
def test_an_adapter_on_the_bare_encoder(tiny_masked_lm: Callable[[str], Path], tmp_path: Path, method: Any) -> None:
    """The vectors are the hidden states inside the model that was trained."""
    folder = tiny_masked_lm("bert")
    trained = load(str(folder), head="AutoModelForMaskedLM", class_names=[], seed=0)
    if isinstance(method, Prompt) and method.placement == "front":
        method_problem = method.problems(trained)
        assert method_problem
        return
    method.inject(trained, 0)
    with torch.no_grad():
        for _, parameter in trained.trainable():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    adapters.save(trained, method, adapters.adapter_tensors(trained), tmp_path)
    encoder = bare(folder)
    plain = word_vectors(VOCABULARY, encoder)
    adapters.load_adapter(encoder, tmp_path, head=False)
    vectors = word_vectors(VOCABULARY, encoder)
    ids = trained.tokenizer(VOCABULARY, is_split_into_words=True, return_tensors="pt")
    trained.model.eval()
    with torch.no_grad():
        inside = trained.model(**ids, output_hidden_states=True).hidden_states[-1][0].numpy()
    for word in range(len(VOCABULARY)):
        mine = [t for t, owner in enumerate(ids.word_ids()) if owner == word]
        np.testing.assert_allclose(vectors[word], inside[mine].mean(0), atol=1e-5)
    assert np.abs(vectors - plain).max() > 1e-3


@pytest.mark.parametrize(
    ("layer", "windows", "says"),
    [
        (3, Windows(), r"layer 3: .* has 0 \(the embeddings\) to 2"),
        (-4, Windows(), "layer -4"),
        (1, Windows(window=65), "window = 65; expected 3 to 64 tokens"),
        (1, Windows(window=2), "window = 2"),
        (1, Windows(window=30, stride=29), "stride = 29; expected 1 to 28"),
        (1, Windows(stride=0), "stride = 0; expected 1 to 62"),
    ],
)
def test_what_the_encoder_does_not_have(
    tiny_model: Callable[[str], Path], layer: int, windows: Windows, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        word_vectors(["a"], bare(tiny_model("bert")), layer=layer, windows=windows)


def test_stories_do_not_wait_for_a_short_one(tiny_model: Callable[[str], Path]) -> None:
    """Memory: what comes first is given first, and soon, although its window is short and batches are large."""
    encoder, begun = bare(tiny_model("bert")), 0

    def stories() -> Any:
        nonlocal begun
        for number in range(60):
            begun += 1
            yield tale(3) if number == 0 else tale(40, number)

    vectors = story_vectors(stories(), encoder, windows=Windows(window=24, stride=12, batch_tokens=5000))
    next(vectors)
    assert begun < 20
