"""result.json and study.json as an earlier version wrote them."""

from __future__ import annotations

# Three results as the commit before this class wrote them, with the hashed configuration cut short.
RUN = """{
 "id": "05fc3d1b4946",
 "status": "done",
 "reason": null,
 "kind": "run",
 "method": "lora",
 "variant": "lora rank=4",
 "seed": 1,
 "learning_rate": 0.003,
 "config": {
  "kind": "run",
  "method": {
   "name": "lora",
   "rank": 4
  }
 },
 "class_names": [
  "négatif",
  "positif"
 ],
 "splits": {
  "validation": {
   "rows": 60,
   "loss": 0.6703,
   "accuracy": 0.6,
   "macro_f1": 0.5833333333333334,
   "per_class": [
    {
     "label": "négatif",
     "precision": 0.5,
     "recall": 0.25,
     "f1": 0.3333333333333333,
     "support": 20
    }
   ],
   "confusion": [
    [
     5,
     15
    ],
    [
     5,
     35
    ]
   ]
  },
  "test": {
   "rows": 40,
   "loss": 0.7,
   "accuracy": 1,
   "masked_tokens": 41
  }
 },
 "parameters": {
  "adapter": 256,
  "head": 1122,
  "total": 60194
 },
 "train_seconds": 0.51,
 "epochs": 2,
 "best_epoch": 2,
 "steps": 30,
 "peak_memory_mb": 512.0,
 "inference_ms_per_example": 0.2,
 "adapter_bytes": 6320,
 "precision": {
  "compute": "float32",
  "why": "asked for"
 },
 "warnings": [
  "over-fitting"
 ],
 "versions": {
  "torch": "2.13.0"
 },
 "hardware": {
  "cpu": "AMD EPYC",
  "cores": 2,
  "gpus": []
 },
 "predictions": {
  "validation": "9d2c",
  "test": "1a45"
 }
}
"""
BASELINE = """{
 "id": "4b99818316c7",
 "status": "done",
 "reason": null,
 "kind": "baseline",
 "method": "majority",
 "variant": "majority",
 "seed": null,
 "learning_rate": null,
 "config": {},
 "class_names": [],
 "splits": {
  "test": {
   "rows": 40,
   "loss": 1.25,
   "mse": 1.25,
   "pearson": 0.0
  }
 },
 "parameters": {
  "adapter": 0,
  "head": 0,
  "total": 0
 },
 "train_seconds": 0.0,
 "epochs": 0,
 "best_epoch": null,
 "steps": 0,
 "peak_memory_mb": null,
 "inference_ms_per_example": null,
 "adapter_bytes": null,
 "precision": {
  "compute": "float32",
  "why": "asked for"
 },
 "warnings": [],
 "versions": {},
 "hardware": {},
 "predictions": {
  "test": "77"
 }
}
"""
TRIAL = """{
 "id": "281b2750cefd",
 "status": "failed",
 "reason": "out of memory; the same command tries again",
 "kind": "trial",
 "method": "full",
 "variant": "full",
 "seed": 0,
 "learning_rate": 5e-05,
 "config": {},
 "class_names": [
  "no",
  "yes"
 ],
 "splits": {},
 "parameters": {
  "adapter": null,
  "head": null,
  "total": null
 },
 "train_seconds": 0.0,
 "epochs": 0,
 "best_epoch": null,
 "steps": 0,
 "peak_memory_mb": null,
 "inference_ms_per_example": null,
 "adapter_bytes": null,
 "precision": {
  "compute": "float32",
  "why": "asked for"
 },
 "warnings": [],
 "versions": {},
 "hardware": {},
 "try_again": true,
 "predictions": {}
}
"""
STUDY = """{
 "study": {
  "name": "reviews",
  "seeds": [
   0
  ]
 },
 "warnings": [],
 "reference": "full",
 "data": {
  "train": {
   "origin": "train.csv",
   "rows": 90,
   "fingerprint": "5f",
   "labels": {
    "no": 40,
    "yes": 50
   }
  }
 },
 "truncation": {
  "train": {
   "rows": 90,
   "rows_cut": 4,
   "tokens_lost": 9,
   "max_length": 32
  }
 },
 "precision": {
  "compute": "float32",
  "why": "asked for"
 },
 "versions": {},
 "hardware": {},
 "runs": [
  "281b2750cefd"
 ],
 "labels": {
  "281b2750cefd": {
   "method": "full",
   "variant": "full"
  }
 },
 "search": [
  {
   "method": "full",
   "variant": "full",
   "candidates": [
    {
     "learning_rate": 5e-05,
     "accuracy": null,
     "loss": null,
     "run": null,
     "status": "not tried"
    }
   ],
   "chosen": 5e-05,
   "race": [],
   "edge": false,
   "chance": false
  },
  {
   "method": "lora",
   "variant": "lora",
   "candidates": [
    {
     "learning_rate": 0.001,
     "accuracy": 0.5,
     "loss": 0.7,
     "run": "f4f37814a10a",
     "status": "pruned",
     "settings": {
      "rank": 4
     }
    }
   ],
   "chosen": 0.001,
   "chosen_settings": {
    "rank": 4
   },
   "trials": 1,
   "pruned": 1,
   "failed": 0
  }
 ]
}
"""
