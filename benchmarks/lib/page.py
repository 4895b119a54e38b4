"""Write the tables of docs/performance.md, between its markers, from lines of benchmark results.

python benchmarks/lib/page.py RESULTS.jsonl docs/performance.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

START, END = "<!-- measured -->", "<!-- end -->"
WAYS = {"fp32": "matmul in fp32", "own": "matmul in the model's precision", "kernel": "torch's kernel"}


def main() -> None:
    results, page = Path(sys.argv[1]), Path(sys.argv[2])
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{START}\n\n{tables(lines)}\n{END}{after}", encoding="utf-8")


def tables(lines: Sequence[dict[str, Any]]) -> str:
    machine = f"{lines[0]['cpu']}, {lines[0]['threads']} thread(s)"
    parts = [f"{machine}. Medians; a ratio is the time of the peer over the time of encoderlab.\n"]
    raced = [line for line in lines if line["benchmark"] == "train_vs_peft"]
    if raced:
        parts.append(
            table(
                (
                    "model",
                    "method",
                    "batch",
                    "precision",
                    "encoderlab, ms",
                    "peer, ms",
                    "ratio",
                    "ratio, wall clock",
                    "padding of the peer",
                ),
                [
                    (
                        *(str(one[key]) for key in ("model", "method", "batch_size", "precision")),
                        *(f"{one['cpu_ms'][side]:,.0f}" for side in ("encoderlab", "peer")),
                        *(f"{one[key]:.2f}" for key in ("cpu_ratio", "wall_ratio", "peer_padding")),
                    )
                    for one in raced
                ],
            )
        )
    timed = [line for line in lines if line["benchmark"] == "inference"]
    if timed:
        ways = tuple(timed[0]["cpu_ms_a_row"])
        parts.append("Inference, milliseconds per row, fp32:\n")
        parts.append(
            table(
                ("model", "LoRA on", *ways, "largest difference of a logit"),
                [
                    (
                        one["model"],
                        ", ".join(one["lora_on"]) if len(one["lora_on"]) < 6 else "all six",
                        *one["cpu_ms_a_row"].values(),
                        f"{max(one['largest_difference'].values()):.0e}",
                    )
                    for one in timed
                ],
            )
        )
    for one in lines:
        if one["benchmark"] == "published recipe":
            ours, peer = (one["cpu_ms"][side] / 60_000 for side in ("encoderlab", "peer"))
            parts.append(
                f"The published recipe, {one['rows']:,} rows, {one['epochs']} epochs: encoderlab in "
                f"{one['precision']['encoderlab']} {ours:.1f} min, the peer in fp32 {peer:.0f} min "
                f"({one['peer_steps_timed']} of its {one['steps']:,} steps timed), "
                f"ratio {one['cpu_ratio']:.0f}.\n"
            )
        elif one["benchmark"] == "published recipe, macro F1":
            parts.append(
                f"Macro F1 of this recipe, {one['rows']:,} training rows, both in {one['precision']}, one value per "
                f"seed: encoderlab {_spread(one, 'encoderlab')}, peer {_spread(one, 'peer')}.\n"
            )
        elif one["benchmark"] == "loss curves":
            parts.append(
                f"Losses of {one['steps']} steps, fp32, no dropout, {one['model']} {one['method']}: largest difference "
                f"to the peer {one['largest_distance']:.1e}.\n"
            )
        elif one["benchmark"] == "memory":
            ours, peer = one["encoderlab"], one["peer"]
            parts.append(
                f"Peak memory, {one['model']}, LoRA, batch 32, 256 tokens, {ours['precision']}: encoderlab "
                f"{ours['peak_mb']:,} MB, peer {peer['peak_mb']:,} MB, ratio {one['ratio']:.2f}.\n"
            )
        elif one["benchmark"] == "growth":
            parts.append(table(("tokens per text", "us per token"), list(one["cpu_us_per_token"].items())))
            parts.append(
                table(("rows", "peak MB", "time to read and tokenize"), [
                    (f"{int(rows):,}", f"{found['peak_mb']:,}", f"{found['read_and_encode_s']} s")
                    for rows, found in one["rows"].items()
                ])
            )  # fmt: skip
            parts.append(
                table(("runs per study", "peak MB", "seconds per run"), [
                    (runs, f"{found['peak_mb']:,}", found["s_a_run"]) for runs, found in one["runs"].items()
                ])
            )  # fmt: skip
        elif one["benchmark"] == "embed":
            parts.append(
                f"Word vectors, {one['model']}, {one['precision']}: {one['words_per_s']['ours']:,} words per second, "
                f"{one['ratio']['reference']} times the speed of the slow reference.\n"
            )
        elif one["benchmark"] == "ridge" and "repeats" in one:
            parts.append(
                f"Ridge, {one['stories']} stories, {one['rows']:,} TRs, {one['features']:,} features, "
                f"{one['voxels']:,} voxels, {one['alphas']} alphas: encoderlab {one['seconds']['encoderlab']} s, "
                f"himalaya {one['seconds']['himalaya']} s, ratio {one['ratio']}.\n"
            )
        elif one["benchmark"] == "quality":
            parts.append(
                f"IMDB, {one['rows']:,} rows, {one['max_length']} tokens, {one['epochs']} epoch(s), LoRA, accuracy on "
                f"{one['test_rows']:,} test rows, one value per seed: encoderlab {_spread(one, 'encoderlab')}, "
                f"peer {_spread(one, 'peer')}.\n"
            )
        elif one["benchmark"] == "attention":
            parts.append("Attention of one layer, forward and backward, no dropout, milliseconds:\n")
            for precision in dict.fromkeys(layer["precision"] for layer in one["layers"]):
                layers = [layer for layer in one["layers"] if layer["precision"] == precision]
                head = (f"{precision}: tokens x sequences x head size", *WAYS.values())
                parts.append(
                    table(head, [
                        (
                            f"{layer['tokens']} x {layer['sequences']} x {layer['head_size']}",
                            *(layer[way] for way in WAYS),
                        )
                        for layer in layers
                    ])
                )  # fmt: skip
    return "\n".join(parts)


def _spread(one: Mapping[str, Any], side: str) -> str:
    mean, sd = one["mean_and_sd"][side]
    return f"{', '.join(f'{x:.3f}' for x in one[side])} (mean {mean:.3f}, sd {sd:.3f})"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


if __name__ == "__main__":
    main()
