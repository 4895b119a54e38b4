"""Write messages to stderr and JSON to stdout."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any


def say(*lines: str) -> None:
    """Write messages to stderr, one per line."""
    for line in lines:
        print(f"encoderlab: {line}", file=sys.stderr)


def quieten_libraries() -> None:
    """Silence the messages of the libraries. Call this function before you import them."""
    for library in ("httpx", "httpx2", "urllib3", "bitsandbytes"):  # bitsandbytes warns of a kernel not used here
        logging.getLogger(library).setLevel(logging.ERROR)
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # waiting threads yield the core: docs/decisions/0004
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):  # kernels, one per shape: decisions/0009
        os.environ.setdefault(cache, "128")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


def print_json(value: Any) -> None:
    """Print a value as JSON to stdout."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def is_beside() -> bool:
    """Return whether this is a secondary process of torchrun or `accelerate launch`, which must not print results."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and os.environ.get("RANK", "0") != "0"
