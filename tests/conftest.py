"""Settings that hold for every test, and the fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

# Before anything imports a library that reads them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from transformers import BertTokenizer

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
