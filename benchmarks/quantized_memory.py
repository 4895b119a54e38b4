"""Memory of the frozen base: fp32 weights against QLoRA's four bits, of one encoder.

Counts the bytes of every tensor that stays as it is while training (frozen parameters, and what stands for them), and
the seconds to quantise. The encoder is the demo's, a folder of yours, or with --random one of bert-base's size.

    python benchmarks/quantized_memory.py [--model FOLDER | --random]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from lib import work

from encoderlab.methods.base import Method
from encoderlab.methods.lora import Lora
from encoderlab.methods.qlora import Qlora
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--random", action="store_true", help="bert-base's size, random weights")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or work.model_folder("bert-base" if arguments.random else "minilm", Path(folder))
        rows: list[tuple[str, Method]] = [
            ("fp32", Lora()),
            ("NF4", Qlora(double_quantization=False)),
            ("NF4, double", Qlora()),
        ]
        plain = 0
        for name, method in rows:
            encoder = load.load(model, head="AutoModelForSequenceClassification", class_names=["0", "1"], seed=0)
            start = time.perf_counter()
            method.inject(encoder, 0)
            seconds = time.perf_counter() - start
            layers, whole = frozen_bytes(encoder, layers=True), frozen_bytes(encoder)
            plain = plain or whole
            print(
                f"{name:12} layers {layers / 2**20:7.1f} MB, with embeddings {whole / 2**20:7.1f} MB "
                f"({whole / plain:.0%}); inserted in {seconds:.1f} s"
            )


def frozen_bytes(encoder: EncoderModel, *, layers: bool = False) -> int:
    """Bytes of the frozen parameters and of the buffers; of the encoder's layers alone, or of the whole model."""
    modules = encoder.layers() if layers else [encoder.model]
    tensors = {
        id(t): t for m in modules for t in (*m.parameters(), *m.buffers()) if not t.requires_grad
    }  # one that is shared counts once
    return sum(t.numel() * t.element_size() for t in tensors.values())


if __name__ == "__main__":
    main()
