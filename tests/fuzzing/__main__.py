"""Fuzz the readers and print what became of each kind of file.

    python -m tests.fuzzing --cases 2000 --seed 0 [--target csv ...] [--case NUMBER]

A target runs in a process of its own. The table counts the outcomes; below it stands one line for each kind of failure
with the number of its first case, which `--target NAME --case NUMBER` repeats here, in this process.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import traceback
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # conftest builds the tiny models

KINDS = ("read", "warned", "refused", "failed")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", help="default: all")
    parser.add_argument("--case", type=int, help="one case alone, in this process, with its traceback")
    given = parser.parse_args()
    from .guard import Outcome
    from .run import apart, cases
    from .targets import TARGETS

    names = given.target or list(TARGETS)
    failures: dict[tuple[str, str, str], list[tuple[int, str]]] = defaultdict(list)
    print(f"{'target':<12}{'cases':>7}" + "".join(f"{kind:>9}" for kind in KINDS) + f"{'slowest':>10}{'most MB':>9}")
    for name in names:
        found: list[Outcome] = []
        with tempfile.TemporaryDirectory() as folder:
            if given.case is not None:
                (outcome,) = cases(name, TARGETS[name], [given.case], given.seed, Path(folder))
                print(outcome)
                if outcome.error:
                    traceback.print_exception(outcome.error)
                continue
            for number, outcome in apart(name, TARGETS[name], range(given.cases), given.seed, Path(folder)):
                found.append(outcome)
                if outcome.kind == "failed":
                    failures[name, outcome.where, _kind(outcome.said)].append((number, outcome.said))
        counts = [sum(outcome.kind == kind for outcome in found) for kind in KINDS]
        slowest, most = max(o.seconds for o in found), max(o.megabytes for o in found)
        print(
            f"{name:<12}{len(found):>7}" + "".join(f"{n:>9}" for n in counts) + f"{slowest:>8.2f} s{most:>9.0f}",
            flush=True,
        )
    for (name, where, _), some in failures.items():
        number, said = some[0]
        print(f"{name}: {len(some)} times, first case {number}: {where}: {said[:400]}")
    return 1 if failures else 0


def _kind(said: str) -> str:
    """What a failure says, without the names and numbers of its case."""
    return re.sub(r"""/\S+|['"].*|\d+|^AssertionError: \S*(?= is not finite)""", "", said)[:80]


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    raise SystemExit(main())
