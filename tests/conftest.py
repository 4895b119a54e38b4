"""Settings that hold for every test, and the fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Before anything imports a library that reads them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from transformers import AutoConfig, AutoModel, BertTokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and weights that lies beside a checkout, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no ../shared beside this checkout")
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer() -> BertTokenizer:
    """WordPiece over a vocabulary of a few words and the letters, so that any other word falls into pieces."""
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] good bad film the a was not very plot acting and"
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocab = [*words.split(), *letters[1:], *(f"##{letter}" for letter in letters)]
    return BertTokenizer(vocab={token: i for i, token in enumerate(vocab)})


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: BertTokenizer) -> Callable[[str], Path]:
    """tiny_model(family) -> folder of an encoder with random weights: two layers, hidden 32, 64 positions."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            folder = tmp_path_factory.mktemp("models") / family
            shape = {"distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2}}.get(
                family, {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
            )
            reserved = 2 if family == "roberta" else 0  # its position table starts after the padding row
            pad = {"pad_token_id": 1} if family == "roberta" else {}
            config = AutoConfig.for_model(
                family, vocab_size=len(tiny_tokenizer), max_position_embeddings=64 + reserved, **shape, **pad
            )
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                AutoModel.from_config(config).save_pretrained(folder)
            tiny_tokenizer.save_pretrained(folder)
            made[family] = folder
        return made[family]

    return make
