"""How often an encoding study's claims are wrong: made-up responses, judged by the project's own functions.

    python benchmarks/encoding_statistics.py [PART ...]

The parts are voxels, planted, paired, doctor, blocks and ceiling; without any, all of them run.

Minutes on one core; the seed of each part is fixed.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from scipy.signal import lfilter
from scipy.stats import ttest_rel

from encoderlab.brain.fmri import autocorrelation, noise_ceiling, scores
from encoderlab.brain.fmri.alignment_check import diagnose
from encoderlab.brain.fmri.paired import paired
from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.fmri.significance import BlockPermutation, benjamini_hochberg

LEVELS = (0.5, 0.05, 0.01, 0.001)


def smooth(rng: np.random.Generator, trs: int, voxels: int, coefficient: float = 0.7) -> np.ndarray:
    """AR(1) of variance 1."""
    noise = rng.normal(size=(trs + 200, voxels))
    return np.asarray(lfilter([1.0], [1.0, -coefficient], noise, axis=0))[200:] * np.sqrt(1 - coefficient**2)


def pink(rng: np.random.Generator, trs: int, voxels: int, exponent: float) -> np.ndarray:
    """Power 1 / f^exponent."""
    f = np.fft.rfftfreq(4 * trs)
    f[0] = f[1]
    parts = rng.normal(size=(2, len(f), voxels)) / f[:, None] ** (exponent / 2)
    return np.fft.irfft(parts[0] + 1j * parts[1], axis=0)[:trs]


def voxels() -> None:
    """Null voxels below a level, over the level."""
    for lengths, block in (([300] * 10, 20), ([147, 320, 285], 20), ([300] * 10, 40)):
        rng, count = np.random.default_rng(1), 16000
        p, _ = tested(rng, lengths, count, block)
        shown = "  ".join(f"{level}: {(p <= level).mean() / level:.2f}" for level in LEVELS)
        print(f"null, {len(lengths)} stories, block {block}: {shown}", flush=True)


def planted_voxels() -> None:
    """2, 1 and .5 % planted voxels of 8,000: how many are found at q = .05, by z and by counting."""
    for planted in (160, 80, 40):
        p, counted = tested(np.random.default_rng(2), [300] * 10, 8000, 20, planted)
        for name, values in (("z", p), ("counted", counted)):
            q = benjamini_hochberg(values) < 0.05
            print(
                f"{planted} of 8,000 planted, {name}: {q[:planted].sum()} found, {q[planted:].sum()} false", flush=True
            )


def tested(
    rng: np.random.Generator, lengths: list[int], count: int, block: int, planted: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """p by z, and by counting."""
    null, r = BlockPermutation(voxels=count, block=block), []
    for story, trs in enumerate(lengths):
        predicted, actual = smooth(rng, trs, count), smooth(rng, trs, count)
        actual[:, :planted] += 0.6 * predicted[:, :planted]
        null.add(story, slice(None), predicted, actual)
        r.append(scores.correlation(predicted, actual))
    mean = np.mean(r, axis=0)
    above = (null._sum >= mean * len(lengths)).sum(axis=0)
    return null.p_values(mean), (above + 1) / (null.permutations + 1)


def differences() -> None:
    """Two feature spaces equally good: how often p < .05, corrected and by a plain t test over stories."""
    for stories in (6, 10, 25):
        rng, studies, called = np.random.default_rng(3), 500, np.zeros(2)
        for _ in range(studies):
            x = rng.normal(size=(2, stories, 60, 8))
            y = 0.5 * x.sum(axis=(0, 3)) / 4 + rng.normal(size=(stories, 60))
            gram = np.einsum("astf,astg->asfg", x, x)
            moment = np.einsum("astf,st->asf", x, y)
            left = gram.sum(axis=1, keepdims=True) - gram + 10 * np.eye(8)
            beta = np.linalg.solve(left, (moment.sum(axis=1, keepdims=True) - moment)[..., None])[..., 0]
            found = np.einsum("astf,asf->ast", x, beta)
            r = np.stack([[np.corrcoef(found[a, s], y[s])[0, 1] for s in range(stories)] for a in range(2)])
            called += [paired(r[0, :, None], r[1, :, None]).p < 0.05, ttest_rel(r[0], r[1]).pvalue < 0.05]
        print(
            f"equal spaces, {stories} stories: corrected {called[0] / studies:.3f}, plain t {called[1] / studies:.3f}"
        )


def doctor() -> None:
    """Noise, alone or with a part that all voxels share: how often the alignment is called clear."""
    for coefficient, share, rows in (
        (0.7, 0.0, [300] * 6),
        (0.9, 0.0, [200] * 4),
        (0.7, 0.3, [300] * 6),
        (0.7, 0.6, [300] * 6),
        (0.7, 0.6, [150] * 4),
        (0.9, 0.6, [200] * 4),
        (0.7, 0.6, [110]),
    ):
        rng, studies, clear, before = np.random.default_rng(4), 150, 0, 0
        for _ in range(studies):
            times = [np.sort(rng.uniform(0, 2 * n - 30, 3 * n)) for n in rows]
            trs = [-9.0 + 2 * np.arange(n) for n in rows]
            made = [
                np.sqrt(share) * smooth(rng, n - 15, 1, coefficient)
                + np.sqrt(1 - share) * smooth(rng, n - 15, 100, coefficient)
                for n in rows
            ]
            found = diagnose(times, trs, StoryResponses.from_arrays(made), (10, 5))
            clear += found.clear
            before += max(found.curve) > 1.4 * np.median(found.curve)
        print(
            f"noise AR {coefficient}, {share:.0%} shared, {len(rows)} stories of {rows[0]}: "
            f"clear {clear / studies:.3f}, by the peak over the median alone {before / studies:.3f}",
            flush=True,
        )


def blocks() -> None:
    """Share of noise called at .05 by blocks of 20 TRs, and what the autocorrelation of the responses foretells."""
    for name, make in (
        ("AR .7", lambda rng: smooth(rng, 300, 3000, 0.7)),
        ("AR .9", lambda rng: smooth(rng, 300, 3000, 0.9)),
        ("1/f", lambda rng: pink(rng, 300, 3000, 1.0)),
        ("1/f^1.5", lambda rng: pink(rng, 300, 3000, 1.5)),
    ):
        rng = np.random.default_rng(5)
        predicted, actual = [make(rng) for _ in range(5)], [make(rng) for _ in range(5)]
        r = np.mean([scores.correlation(p, y) for p, y in zip(predicted, actual, strict=True)], axis=0)
        rho = autocorrelation.autocorrelation(StoryResponses.from_arrays(actual))
        said = []
        for block in (5, 10, 20, 40, 60):
            null = BlockPermutation(voxels=3000, block=block, permutations=300)
            for story in range(5):
                null.add(story, slice(None), predicted[story], actual[story])
            rate, foretold = (null.p_values(r) <= 0.05).mean(), autocorrelation.false_positives(rho, block)
            said.append(f"{block}: {rate:.3f} ({foretold:.3f})")
        print(f"{name}, called at .05 (foretold) with blocks of {', '.join(said)}", flush=True)


def ceilings() -> None:
    """What a perfect model scores as a share of the ceiling."""
    rng = np.random.default_rng(6)
    for name, signal in (
        ("ev .05", np.full(2000, 0.05)),
        ("ev .3", np.full(2000, 0.3)),
        ("ev 0 to .6", rng.uniform(0, 0.6, 2000)),
    ):
        truth = rng.normal(size=(300, 2000)) * np.sqrt(signal)
        data = truth + rng.normal(size=(2, 300, 2000)) * np.sqrt(1 - signal)
        ev, r = noise_ceiling.explainable_variance(data), scores.correlation(truth, data.mean(axis=0))
        each = np.nanmean(noise_ceiling.normalised_correlation(r, noise_ceiling.noise_ceiling(ev, 2)))
        print(
            f"{name}: mean of quotients {each:.2f}, share of the ceiling {noise_ceiling.share_of_ceiling(r, ev, 2):.2f}"
        )


PARTS = {
    "voxels": voxels,
    "planted": planted_voxels,
    "paired": differences,
    "doctor": doctor,
    "blocks": blocks,
    "ceiling": ceilings,
}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        start = time.perf_counter()
        PARTS[part]()
        print(f"({part}: {time.perf_counter() - start:.0f} s)", flush=True)
