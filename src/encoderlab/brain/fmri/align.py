r"""From one vector a word to one row a TR, and the rows' delays.

    lanczos   D_i = sum_w L((s_i - t_w) c) x_w,   L(u) = a sin(pi u) sin(pi u / a) / (pi u)^2,  L(0) = 1,  0 for |u| > a
    total     the sum of the vectors of the words of TR i          average, last   their mean, the last of them

s_i is the middle of TR i, t_w that of word w, c the cut-off frequency: 1 / TR without `cutoff`. The weights are not
normalised, as in the laboratory's interpdata.lanczosinterp2D (Huth et al. 2016): a row grows with the words of its TR.
Only words within a / c seconds count, so the weights are a sparse matrix with a few entries a row.

Delays (finite impulse response, Nishimoto et al. 2011) are copies of the rows moved down by d TRs, side by side, zeros
moved in: the columns are all features at the first delay, then all at the second. They are made within a story;
`stacked_delays` makes them after stacking, as the laboratory does, where the end of one story reaches into the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

Downsample = Literal["lanczos", "average", "last", "sum"]


def lanczos_weights(
    times: ArrayLike, tr_times: ArrayLike, *, window: float = 3, cutoff: float | None = None
) -> sparse.csr_array:
    """float64 (t, w): the weight of every word in every TR.

    times: (w,) seconds, in any order; tr_times: (t,) seconds, ascending, at least two without `cutoff`. window: lobes
    of the kernel on either side; cutoff: Hz, default 1 / (mean TR).
    """
    words, trs = np.asarray(times, dtype=np.float64), np.asarray(tr_times, dtype=np.float64)
    rate = 1 / np.diff(trs).mean() if cutoff is None else cutoff
    order = np.argsort(words, kind="stable")
    reach = window / rate * (1 + 1e-12)  # the kernel is zero at its ends, so rounding there does not matter
    low = np.searchsorted(words[order], trs - reach, side="left")
    high = np.searchsorted(words[order], trs + reach, side="right")
    counts = high - low
    row = np.repeat(np.arange(len(trs)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + low[row]
    column = order[place]
    u = (trs[row] - words[column]) * rate
    values = np.where(np.abs(u) <= window, np.sinc(u) * np.sinc(u / window), 0.0)
    return sparse.csr_array((values, (row, column)), shape=(len(trs), len(words)))


def tr_of_words(times: ArrayLike, tr_times: ArrayLike) -> NDArray[np.int64]:
    """(w,): the TR in which each word's middle lies; -1 for a word outside all of them."""
    words, trs = np.asarray(times, dtype=np.float64), np.asarray(tr_times, dtype=np.float64)
    half = np.diff(trs) / 2 if len(trs) > 1 else np.array([np.inf])
    edges = np.concatenate([[trs[0] - half[0]], trs[:-1] + half[: len(trs) - 1], [trs[-1] + half[-1]]])
    tr = np.searchsorted(edges, words, side="right") - 1
    return np.where((tr >= 0) & (tr < len(trs)), tr, -1)


def downsample(
    vectors: ArrayLike, times: ArrayLike, tr_times: ArrayLike, how: Downsample = "lanczos", *, window: float = 3
) -> NDArray[np.float64]:
    """(t, f) from one row a word, (w, f). A TR without words is zero, except with `lanczos`, which looks around.

    A word outside all TRs belongs to none (`lanczos` lets it weigh on those near it).
    """
    x = np.asarray(vectors, dtype=np.float64)
    words, trs = np.asarray(times, dtype=np.float64), np.asarray(tr_times, dtype=np.float64)
    if how == "lanczos":
        return lanczos_weights(words, trs, window=window) @ x
    tr = tr_of_words(words, trs)
    said = np.flatnonzero(tr >= 0)
    if how == "last":  # in time; of words at one time the later in the list
        said = said[np.lexsort((said, words[said], tr[said]))]
        said = said[np.append(tr[said][1:] != tr[said][:-1], True)] if len(said) else said
    one = sparse.csr_array((np.ones(len(said)), (tr[said], said)), shape=(len(trs), len(words)))
    if how == "average":
        one = one.multiply(1 / np.maximum(one.sum(axis=1), 1)[:, None]).tocsr()
    return one @ x


def trim(rows: NDArray, front: int, back: int) -> NDArray:
    """Without the first `front` and the last `back` TRs."""
    return rows[front : len(rows) - back]


def zscore(rows: ArrayLike) -> NDArray[np.float64]:
    """Columns with mean 0 and standard deviation 1 (n, not n - 1); a constant column becomes 0."""
    x = np.asarray(rows, dtype=np.float64)
    centred = x - x.mean(axis=0)
    deviation = np.sqrt((centred**2).mean(axis=0))
    # A column that is constant up to rounding would be blown up to noise of size 1.
    still = deviation <= 1e-12 * np.abs(x).max(axis=0, initial=0)
    return np.where(still, 0.0, centred / np.where(still, 1.0, deviation))


def delay(rows: NDArray, delays: Sequence[int]) -> NDArray:
    """(t, f) -> (t, f x delays): row i of copy d is row i - d, or zero. Negative delays look ahead."""
    out = np.zeros((len(rows), len(delays), rows.shape[1]), dtype=rows.dtype)
    for k, d in enumerate(delays):
        if d >= 0:
            out[d:, k] = rows[: max(0, len(rows) - d)]
        else:
            out[:d, k] = rows[-d:]
    return out.reshape(len(rows), -1)


def stacked_delays(stories: Sequence[NDArray], delays: Sequence[int]) -> list[NDArray]:
    """`delay` of the stories laid end to end: the last rows of one reach into the first rows of the next."""
    whole = delay(np.vstack(stories), delays)
    return np.split(whole, np.cumsum([len(rows) for rows in stories])[:-1])


def row_problems(
    names: Sequence[str],
    rows: Sequence[int],
    responses: Sequence[int],
    trimmed: str,
    trs: Sequence[int] | None = None,
    *,
    explained: bool = False,
) -> list[str]:
    """One line for each story whose features and responses have unequal numbers of TRs.

    Args:
        names: of the stories.
        rows: of the features of each.
        responses: rows of the responses of each.
        trimmed: what was left out of the features, in words.
        trs: of each recording, before that.
        explained: whether what to do is said elsewhere.
    """
    of = [""] * len(names) if trs is None else [f" of the recording's {count}" for count in trs]
    advice = "" if explained else ": check `trim`, and that both are of the same recording"
    return [
        f"story {name!r}: {have} rows of features after {trimmed}{whole}, {want} rows of responses; expected as many. "
        f"They differ by {abs(have - want)} TRs{advice}"
        for name, have, want, whole in zip(names, rows, responses, of, strict=True)
        if have != want
    ]
