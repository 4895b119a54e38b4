"""Word vectors of stories: ours, one story at a time, and a slow obvious reference, on the same words in one process.

    reference     one window at a time, the library's own attention, a Python loop over the words of each window
    one at a time ours, but every story by itself
    ours          windows of all stories share their batches

    python benchmarks/embed.py [--stories N] [--lab raw_text.pkl] [--model FOLDER] [--precision fp32|bf16] [--json FILE]

Words per second (medians of the rounds), how many times as fast ours is, and the largest difference to ours.
Without `--lab` the stories are made up: sentences of common words, from 600 to 3,000 words long.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from lib import work

from encoderlab.brain.stories.read import read
from encoderlab.brain.vectors.contextual import story_vectors
from encoderlab.brain.vectors.windows import Windows
from encoderlab.model import load
from encoderlab.model.prepacked_linear import prepack
from encoderlab.study import demo

COMMON = (
    "the a of and to in he she was it that said on with they you i his her had not for but at this as we all".split()
)


def invented(stories: int) -> list[list[str]]:
    rng = np.random.default_rng(0)
    longer = [word + ending for word in COMMON for ending in ("ing", "er", "ness", "'s")]
    lengths = rng.integers(600, 3000, stories)
    return [[str(w) for w in rng.choice(COMMON * 6 + longer, n)] for n in lengths]


def reference(stories: Sequence[Sequence[str]], tokenizer, model) -> list[np.ndarray]:
    """As a course hand-out would write it."""
    out = []
    for words in stories:
        encoding = tokenizer(list(words), is_split_into_words=True, add_special_tokens=False, verbose=False)
        ids, owners = encoding["input_ids"], encoding.word_ids()
        pieces = Counter(owners)
        starts = list(range(0, max(1, len(ids) - 510), 256))
        if len(ids) > 510:
            starts.append(len(ids) - 510)
        total, count = torch.zeros(len(words), model.config.hidden_size), torch.zeros(len(words))
        for start in starts:
            window, owner = ids[start : start + 510], owners[start : start + 510]
            inputs = torch.tensor([[tokenizer.cls_token_id, *window, tokenizer.sep_token_id]])
            with torch.no_grad():
                hidden = model(inputs).last_hidden_state[0, 1:-1].float()
            for word in dict.fromkeys(owner):
                mine = [i for i, w in enumerate(owner) if w == word]
                if len(mine) < pieces[word]:
                    continue  # cut by the window's border
                total[word] += hidden[mine].mean(0)
                count[word] += 1
        out.append((total / count.clamp(min=1)[:, None]).numpy())
    return out


def timed(call: Callable[[], list[np.ndarray]]) -> tuple[float, list[np.ndarray]]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=6)
    parser.add_argument("--lab", type=Path, help="a raw_text.pkl instead of made-up stories")
    parser.add_argument("--model", help="a model folder; default: the demo's MiniLM")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--ours-only", action="store_true", help="no reference: for the memory of ours alone")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    stories = [s.words for s in read(args.lab)][: args.stories] if args.lab else invented(args.stories)
    words = sum(map(len, stories))
    name = args.model or str(demo.prepare().model)
    encoder = load.load(name, head="AutoModel", class_names=[], seed=0)
    encoder.model.requires_grad_(False).to(torch.bfloat16 if args.precision == "bf16" else torch.float32)
    prepack(encoder.model)  # as `encoderlab embed` does
    about = {"benchmark": "embed", "stories": len(stories), "words": words, "precision": args.precision}
    about["model"] = args.model or "minilm"
    ways: dict[str, Callable[[], list[np.ndarray]]] = {
        "ours": lambda: [found.vectors[0] for found in story_vectors(stories, encoder)],
        "one story at a time": lambda: [next(story_vectors([one], encoder)).vectors[0] for one in stories],
        "one window at a time": lambda: [
            next(story_vectors([one], encoder, windows=Windows(batch_tokens=1))).vectors[0] for one in stories
        ],
    }
    if args.ours_only:
        start = time.perf_counter()
        for _ in story_vectors(stories, encoder):
            pass  # nothing is kept, as `encoderlab embed` writes each story and forgets it
        took = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        work.say({**about, "words_per_s": {"ours": round(words / took)}, "peak_mb": round(peak)}, args.json)
        return
    tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    plain = transformers.AutoModel.from_pretrained(name, attn_implementation="eager").eval()
    plain.to(encoder.model.dtype)
    ways["reference"] = lambda: reference(stories, tokenizer, plain)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    vectors: dict[str, list[np.ndarray]] = {}
    for round_ in range(args.rounds + 1):
        for way, call in ways.items():
            took, vectors[way] = timed(call)
            if round_:  # the first is to warm up
                seconds[way].append(took)
    medians = {way: statistics.median(some) for way, some in seconds.items()}
    result = {
        "words_per_s": {way: round(words / took) for way, took in medians.items()},
        "ratio": {way: round(took / medians["ours"], 2) for way, took in medians.items()},
        "largest_difference": {
            way: max(float(np.abs(a - b).max()) for a, b in zip(some, vectors["ours"], strict=True))
            for way, some in vectors.items()
        },
    }
    work.say({**about, **result}, args.json)


if __name__ == "__main__":
    main()
