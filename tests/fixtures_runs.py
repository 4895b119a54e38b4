"""A study folder as `encoderlab compare` leaves it, with logits and curves drawn from a seeded generator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


@dataclass(frozen=True)
class Spec:
    """One variant: its accuracy, what it trains and how long that takes."""

    method: str
    settings: str
    accuracy: float
    adapter: int
    seconds: float
    learning_rate: float

    @property
    def variant(self) -> str:
        return f"{self.method} {self.settings}".strip()


SPECS = (
    Spec("full", "", 0.874, 22_565_000, 612.0, 5e-5),
    Spec("lora", "rank=4", 0.866, 73_728, 401.0, 5e-4),
    Spec("lora", "rank=8", 0.872, 147_456, 405.0, 5e-4),
    Spec("adapter", "bottleneck=48", 0.871, 225_216, 420.0, 1e-3),
    Spec("prefix", "length=16", 0.848, 73_729, 455.0, 5e-3),
    Spec("head", "", 0.762, 0, 118.0, 1e-3),
)
MORE_SPECS = (
    Spec("lora", "rank=16", 0.8725, 294_912, 412.0, 5e-4),
    Spec("lora", "rank=32 rslora=true", 0.8735, 589_824, 430.0, 2e-4),
    Spec("adapter", "bottleneck=24 placement=houlsby", 0.8705, 225_218, 447.0, 1e-3),
    Spec("adapter", "bottleneck=8", 0.861, 41_000, 415.0, 1e-3),
    Spec("prefix", "length=32", 0.852, 147_458, 470.0, 5e-3),
    Spec("prefix", "length=8", 0.839, 36_864, 449.0, 5e-3),
)
HEAD_PARAMETERS = 148_610


def write_study(
    out: Path,
    *,
    specs: Sequence[Spec] = SPECS,
    seeds: Sequence[int] = (0, 1, 2),
    labels: Sequence[str] = ("negative", "positive"),
    rows: int = 1500,
    failed: Sequence[tuple[str, int]] = (),
    epochs: int = 4,
    warning: str = "12 texts occur in both train and test",
) -> Path:
    """Write `out`/study.json and every run; `failed` names (variant, seed) that end with a non-finite loss."""
    draw = np.random.default_rng(20)
    gold = {split: draw.integers(0, len(labels), size=n) for split, n in (("validation", rows // 3), ("test", rows))}
    difficulty = {split: draw.random(len(gold[split])) for split in gold}
    world = _World(out, list(labels), gold, difficulty, epochs)
    ids, search = [], []
    ids.append(world.run(Spec("majority", "", 0.0, 0, 0.0, 0.0), None, "baseline"))
    for seed in seeds:
        ids.append(world.run(Spec("untrained", "", 1 / len(labels), 0, 0.0, 0.0), seed, "baseline"))
    for spec in specs:
        for seed in seeds:
            ids.append(world.run(spec, seed, "run", fails=(spec.variant, seed) in failed))
        search.append(world.search(spec))
    _write(
        out / "study.json",
        {
            "study": {
                "name": "reviews",
                "model": "bert-tiny",
                "seeds": list(seeds),
                "out": "results/reviews",
                "task": {"kind": "classification", "text": "text", "label": "label"},
                "data": {"train": {"path": "train.csv"}, "test": {"path": "test.csv"}},
                "train": {"epochs": epochs, "batch_size": 16, "max_length": 128},
                "method": [{"name": s.method, "settings": s.settings} for s in specs],
            },
            "warnings": [warning],
            "runs": ids,
            "search": search,
            "reference": specs[0].variant,
            "data": {
                split: {
                    "origin": f"{split}.csv",
                    "rows": n,
                    "fingerprint": "5f" * 32,
                    "labels": {name: n // len(labels) for name in labels},
                }
                for split, n in (("train", 4 * rows), ("validation", rows // 3), ("test", rows))
            },
            "truncation": {
                split: {"rows": n, "rows_cut": n // 20, "tokens_lost": 7 * n, "max_length": 128}
                for split, n in (("train", 4 * rows), ("validation", rows // 3), ("test", rows))
            },
            "versions": {"encoderlab": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
            "precision": {"compute": "float32", "why": "this CPU has no fast bfloat16"},
            "hardware": {"cpu": "Example 3000", "cores": 2, "threads": 2, "gpus": [], "system": "Linux"},
        },
    )
    return out


@dataclass(frozen=True)
class _World:
    out: Path
    labels: list[str]
    gold: dict[str, NDArray[np.int64]]
    difficulty: dict[str, NDArray[np.float64]]
    epochs: int

    def run(self, spec: Spec, seed: int | None, kind: str, *, fails: bool = False) -> str:
        name = f"{spec.variant.replace(' ', '-').replace('=', '')}-{seed}"
        folder = self.out / "runs" / name
        draw = np.random.default_rng([len(spec.variant), spec.adapter % 9973, seed or 0])
        result: dict[str, Any] = {
            "id": name,
            "status": "failed" if fails else "done",
            "reason": "loss is not finite at step 40 (epoch 1): lower the learning rate" if fails else None,
            "kind": kind,
            "method": spec.method,
            "variant": spec.variant,
            "seed": seed,
            "learning_rate": spec.learning_rate if kind == "run" else None,
            "config": {},
            "class_names": self.labels,
            "splits": {},
            "parameters": {
                "adapter": spec.adapter,
                "head": HEAD_PARAMETERS if kind == "run" else 0,
                "total": 22_713_610 + (spec.adapter if spec.method not in ("full", "head") else 0),
            },
            "train_seconds": spec.seconds * float(draw.uniform(0.97, 1.03)),
            "epochs": self.epochs if kind == "run" else 0,
            "best_epoch": self.epochs if kind == "run" else None,
            "steps": 375 * self.epochs if kind == "run" else 0,
            "peak_memory_mb": 900.0 + spec.adapter / 2.5e4 if kind == "run" else None,
            "inference_ms_per_example": 2.1 + (spec.method in ("adapter", "prefix")) * 0.3,
            "adapter_bytes": 4 * (spec.adapter + HEAD_PARAMETERS) if kind == "run" else None,
            "precision": {"compute": "fp32", "why": "cpu"},
            "warnings": [],
            "versions": {},
            "hardware": {},
        }
        if not fails:
            for split in ("validation", "test"):
                result["splits"][split] = self._predict(folder, split, spec, draw, seed)
        if kind == "run":
            self._curves(folder, spec, draw, 1 if fails else self.epochs)
        _write(folder / "result.json", result)
        return name

    def search(self, spec: Spec) -> dict[str, Any]:
        candidates = [
            {
                "learning_rate": spec.learning_rate * factor,
                "accuracy": None if factor == 4 and spec.method == "full" else spec.accuracy - drop,
                "loss": None if factor == 4 and spec.method == "full" else 0.32 + drop,
                "run": f"trial-{spec.variant}-{factor}",
                "status": "failed" if factor == 4 and spec.method == "full" else "done",
            }
            for factor, drop in ((0.25, 0.021), (1, 0.004), (4, 0.013))
        ]
        return {"method": spec.method, "variant": spec.variant, "candidates": candidates, "chosen": spec.learning_rate}

    def _predict(
        self, folder: Path, split: str, spec: Spec, draw: np.random.Generator, seed: int | None
    ) -> dict[str, Any]:
        gold, n, c = self.gold[split], len(self.gold[split]), len(self.labels)
        logits = draw.normal(0, 0.5, size=(n, c))
        if spec.method == "majority":
            logits = np.tile(np.eye(c)[0], (n, 1))
        else:  # rows are hard for every method alike, as in real data
            hard = 0.8 * self.difficulty[split] + 0.2 * draw.random(n)
            right = hard < np.quantile(hard, spec.accuracy + draw.normal(0, 0.002))
            shift = (draw.integers(1, c, size=n)) if c > 1 else 0
            logits[np.arange(n), np.where(right, gold, (gold + shift) % c)] += 4
        (folder / "predictions").mkdir(parents=True, exist_ok=True)
        order = draw.permutation(n)
        save_file(
            {
                "logits": logits[order].astype(np.float32),
                "labels": gold[order].astype(np.int64),
                "index": (order * 3).astype(np.int64),
            },
            folder / "predictions" / f"{split}.safetensors",
        )
        predicted = logits.argmax(axis=1)
        every = list(range(c))
        scores = precision_recall_fscore_support(gold, predicted, labels=every, zero_division=0)  # pyright: ignore[reportArgumentType]
        p, r, f, support = (np.asarray(x) for x in scores)
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return {
            "rows": n,
            "loss": float(-log_p[np.arange(n), gold].mean()),
            "accuracy": float((predicted == gold).mean()),
            "macro_f1": float(f.mean()),
            "macro_precision": float(p.mean()),
            "macro_recall": float(r.mean()),
            "per_class": [
                {
                    "label": self.labels[k],
                    "precision": float(p[k]),
                    "recall": float(r[k]),
                    "f1": float(f[k]),
                    "support": int(support[k]),
                }
                for k in every
            ],
            "confusion": confusion_matrix(gold, predicted, labels=every).tolist(),
        }

    def _curves(self, folder: Path, spec: Spec, draw: np.random.Generator, epochs: int) -> None:
        lines, loss, per_epoch, chance = [], 0.0, 375, 1 / len(self.labels)
        for epoch in range(1, epochs + 1):
            for step in range(per_epoch * (epoch - 1) + 25, per_epoch * epoch + 1, 25):
                loss = 0.69 * np.exp(-step / 500) + (1 - spec.accuracy) * 1.8 + draw.normal(0, 0.03)
                lines.append({"event": "step", "step": step, "epoch": epoch, "loss": float(loss), "learning_rate": 1e-4,
                              "grad_norm": 1.0, "seconds": step * 0.3, "tokens": step * 900})  # fmt: skip
            accuracy = chance + (spec.accuracy - chance) * (1 - np.exp(-1.6 * epoch)) + draw.normal(0, 0.003)
            lines.append({"event": "epoch", "epoch": epoch, "step": per_epoch * epoch, "train_loss": float(loss),
                          "validation": {"loss": 0.4, "accuracy": float(accuracy), "macro_f1": float(accuracy)},
                          "seconds": epoch * 100.0})  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
