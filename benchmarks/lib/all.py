"""Every benchmark against the peer, one after the other, and then the tables of docs/performance.md.

python benchmarks/lib/all.py [RESULTS.jsonl]       goes on with what is missing; starts anew where the code has changed

One thread, whose processor time is the work's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RACES = [
    *(f"--model minilm --batch-size {size} --precision {dtype}" for dtype in ("bf16", "fp32") for size in (32, 8)),
    *(f"--model bert-base --batch-size {size} --precision bf16" for size in (32, 8)),
    *(f"--model bert-base --batch-size {size} --precision fp32 --repeats 2" for size in (32, 8)),
    *(f"--model minilm --method {name} --batch-size 32 --precision bf16" for name in ("full", "adapter", "prefix")),
]
ALL = [
    *(f"train_vs_peft.py {race}" for race in RACES),
    "train_vs_peft.py --curves",
    *(f"train_vs_peft.py --curves --batch-size 8 --method {name}" for name in ("full", "adapter", "prefix")),
    "last_layer.py",
    "last_layer.py --precision bf16",
    "attention.py",
    "memory.py",
    "growth.py",
    *(f"inference.py {options}".strip() for options in ("", "--every", "--model bert-base --every --rounds 5")),
    "embed.py",
    "embed.py --precision bf16",
    "ridge_vs_himalaya.py",
    "last_layer.py --scores 3",
    "quality.py",
]


def main() -> None:
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "build/bench.jsonl")
    results.parent.mkdir(parents=True, exist_ok=True)
    done = results.with_suffix(".done")
    known = done.read_text(encoding="utf-8").splitlines() if done.exists() else []
    if known[:1] != [code()]:
        results.unlink(missing_ok=True)
        done.write_text(f"{code()}\n", encoding="utf-8")
    for command in ALL:
        if command in known:
            continue
        print(f"== {command}", flush=True)
        name, *options = command.split()
        subprocess.run(
            [sys.executable, HERE.parent / name, *options, "--json", results],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        with done.open("a", encoding="utf-8") as lines:
            lines.write(command + "\n")
    count = len(results.read_text(encoding="utf-8").splitlines())
    subprocess.run([sys.executable, HERE / "page.py", results, HERE.parents[1] / "docs/performance.md"], check=True)
    print(json.dumps({"results": count, "page": "docs/performance.md"}))


def code() -> str:
    """sha256 of everything that is measured and that measures."""
    files = sorted((HERE.parents[1] / "src").rglob("*.py")) + sorted(HERE.parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


if __name__ == "__main__":
    main()
