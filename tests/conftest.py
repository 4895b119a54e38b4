"""Settings that hold for every test, and the fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before anything imports a library that reads them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, BertTokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and weights that lies beside a checkout, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no ../shared beside this checkout")
    return folder


WORDS = "[CLS] [SEP] [MASK] good bad film the a was not very plot acting and".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def word_pieces(*first: str, token_types: bool = True) -> BertTokenizer:
    """WordPiece over `first`, a few words and the letters, so that any other word falls into pieces."""
    vocab = [*first, *WORDS, *LETTERS[1:], *(f"##{letter}" for letter in LETTERS)]
    names = ["input_ids", *(["token_type_ids"] if token_types else []), "attention_mask"]
    return BertTokenizer(vocab={token: i for i, token in enumerate(vocab)}, model_input_names=names)


@pytest.fixture(scope="session")
def tiny_tokenizer() -> BertTokenizer:
    return word_pieces("[PAD]", "[UNK]")


# What each family's config has beside, or instead of, the sizes of most.
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
PADDING_ROW = {"max_position_embeddings": 64 + 2}  # positions count from the row after that of the padding, 1
NO_TYPES = {"type_vocab_size": 1}
SHAPES: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": SIZES | PADDING_ROW | NO_TYPES,
    "xlm-roberta": SIZES | PADDING_ROW | NO_TYPES,
    "camembert": SIZES | PADDING_ROW | NO_TYPES,
    "electra": SIZES | {"embedding_size": 16},
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2},
    "albert": SIZES | {"embedding_size": 16},
    "mpnet": SIZES | PADDING_ROW,
    "deberta-v2": SIZES  # as DeBERTa-v3's
    | {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "share_att_key": True}
    | {"norm_rel_ebd": "layer_norm", "position_biased_input": False, "type_vocab_size": 0, "pooler_hidden_size": 32},
    "modernbert": SIZES | {"local_attention": 8},
}


def build_tiny_model(family: str, folder: Path) -> Path:
    """An encoder with random weights and its tokenizer: two layers, hidden 32, 64 positions."""
    like_roberta = "max_position_embeddings" in SHAPES[family]
    first = ("[UNK]", "[PAD]") if like_roberta else ("[PAD]", "[UNK]")
    tokenizer = word_pieces(*first, token_types=not like_roberta)
    special = {"pad": "pad", "cls": "cls", "sep": "sep", "bos": "cls", "eos": "sep"}
    ids = {f"{name}_token_id": getattr(tokenizer, f"{same}_token_id") for name, same in special.items()}
    shape = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, **ids, **SHAPES[family]}
    config = AutoConfig.for_model(family, **shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny_model(family) -> the folder of `build_tiny_model`."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            made[family] = build_tiny_model(family, tmp_path_factory.mktemp("models") / family)
        return made[family]

    return make


@pytest.fixture(scope="session")
def tiny_masked_lm(
    tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """tiny_masked_lm(family) -> the same encoder as masked-LM training leaves it: with that head, without a pooler."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            folder = tmp_path_factory.mktemp("masked_lm") / family
            shutil.copytree(tiny_model(family), folder)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                AutoModelForMaskedLM.from_pretrained(folder).save_pretrained(folder)
            made[family] = folder
        return made[family]

    return make
