r"""Turn one vector a word into one row a TR, and add delays to the rows.

    lanczos   D_i = sum_w L((s_i - t_w) c) x_w,   L(u) = a sin(pi u) sin(pi u / a) / (pi u)^2,  L(0) = 1,  0 for |u| > a
    sum       the sum of the vectors of the words of TR i          average, last   their mean, the last of them

s_i is the middle of TR i, t_w that of word w, and c the cut-off frequency, by default 1 / TR. The weights are not
normalised, as in the Huth laboratory's interpdata.lanczosinterp2D (Huth et al. 2016), so a row grows with the number of
words in its TR. Only words within a / c seconds count, so the weights are a sparse matrix with few entries a row.

Delays (finite impulse response, Nishimoto et al. 2011) are copies of the rows moved down by d TRs, with zeros moved in.
The columns are all features at the first delay, then all features at the second. Delays are made within a story.
`stacked_delays` makes them after stacking, as the laboratory does, so the end of one story reaches into the next.
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
    """Compute the Lanczos weight of every word in every TR.

    Args:
        times: (words,) seconds, in any order.
        tr_times: (TRs,) seconds, ascending, at least two if `cutoff` is None.
        window: lobes of the kernel on either side, a.
        cutoff: cut-off frequency c in Hz; None means 1 / (mean TR).

    Returns:
        (TRs, words) float64, sparse.
    """
    words, trs = np.asarray(times, dtype=np.float64), np.asarray(tr_times, dtype=np.float64)
    rate = 1 / np.diff(trs).mean() if cutoff is None else cutoff
    # Sort the words, and find the range low:high of sorted words within reach of each TR: (TRs,) each.
    order = np.argsort(words, kind="stable")
    reach = window / rate * (1 + 1e-12)  # the kernel is zero at its ends, so rounding there does not matter
    low = np.searchsorted(words[order], trs - reach, side="left")
    high = np.searchsorted(words[order], trs + reach, side="right")
    # List the pairs (TR, word) within reach: (pairs,) rows and columns of the sparse matrix.
    counts = high - low
    row = np.repeat(np.arange(len(trs)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + low[row]
    column = order[place]
    # Evaluate the kernel at each pair, with u in lobes: (pairs,). np.sinc(u) is sin(pi u) / (pi u).
    u = (trs[row] - words[column]) * rate
    values = np.where(np.abs(u) <= window, np.sinc(u) * np.sinc(u / window), 0.0)
    return sparse.csr_array((values, (row, column)), shape=(len(trs), len(words)))


def tr_of_words(times: ArrayLike, tr_times: ArrayLike) -> NDArray[np.int64]:
    """Find the TR in which the middle of each word lies.

    Args:
        times: (words,) seconds.
        tr_times: (TRs,) seconds, ascending.

    Returns:
        (words,) numbers of TRs; -1 for a word outside all TRs.
    """
    words, trs = np.asarray(times, dtype=np.float64), np.asarray(tr_times, dtype=np.float64)
    half = np.diff(trs) / 2 if len(trs) > 1 else np.array([np.inf])
    edges = np.concatenate([[trs[0] - half[0]], trs[:-1] + half[: len(trs) - 1], [trs[-1] + half[-1]]])
    tr = np.searchsorted(edges, words, side="right") - 1
    return np.where((tr >= 0) & (tr < len(trs)), tr, -1)


def downsample(
    vectors: ArrayLike, times: ArrayLike, tr_times: ArrayLike, how: Downsample = "lanczos", *, window: float = 3
) -> NDArray[np.float64]:
    """Turn one vector a word into one row a TR.

    A TR without words is zero, except with `lanczos`, where words of neighbouring TRs count too. A word outside all TRs
    is left out, except with `lanczos`, where it counts in the TRs near it.

    Args:
        vectors: (words, features).
        times: (words,) seconds.
        tr_times: (TRs,) seconds, ascending.
        how: Lanczos filter, or sum, mean or last of the words of a TR.
        window: lobes of the Lanczos kernel on either side.

    Returns:
        (TRs, features).
    """
    x = np.asarray(vectors, dtype=np.float64)
    words, trs = np.asarray(times, dtype=np.float64), np.asarray(tr_times, dtype=np.float64)
    if how == "lanczos":
        return lanczos_weights(words, trs, window=window) @ x
    tr = tr_of_words(words, trs)
    inside = np.flatnonzero(tr >= 0)  # words inside the TRs
    if how == "last":  # the last in time; of words with the same time, the later in the list
        inside = inside[np.lexsort((inside, words[inside], tr[inside]))]
        inside = inside[np.append(tr[inside][1:] != tr[inside][:-1], True)] if len(inside) else inside
    # (TRs, words), a 1 for each word in its TR
    weights = sparse.csr_array((np.ones(len(inside)), (tr[inside], inside)), shape=(len(trs), len(words)))
    if how == "average":
        weights = weights.multiply(1 / np.maximum(weights.sum(axis=1), 1)[:, None]).tocsr()
    return weights @ x


def trim(rows: NDArray, front: int, back: int) -> NDArray:
    """Leave out the first `front` and the last `back` TRs."""
    return rows[front : len(rows) - back]


def zscore(rows: ArrayLike) -> NDArray[np.float64]:
    """Scale columns to mean 0 and standard deviation 1 (dividing by n, not n - 1); a constant column becomes 0."""
    x = np.asarray(rows, dtype=np.float64)
    centred = x - x.mean(axis=0)
    deviation = np.sqrt((centred**2).mean(axis=0))
    # Without this, a column that is constant up to rounding would become noise of size 1.
    constant = deviation <= 1e-12 * np.abs(x).max(axis=0, initial=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))


def delay(rows: NDArray, delays: Sequence[int]) -> NDArray:
    """Put delayed copies of the rows side by side: row i of the copy for delay d is row i - d, or zero.

    Args:
        rows: (TRs, features).
        delays: delays in TRs; a negative delay looks ahead.

    Returns:
        (TRs, features x delays).
    """
    out = np.zeros((len(rows), len(delays), rows.shape[1]), dtype=rows.dtype)
    for k, d in enumerate(delays):
        if d >= 0:
            out[d:, k] = rows[: max(0, len(rows) - d)]
        else:
            out[:d, k] = rows[-d:]
    return out.reshape(len(rows), -1)


def stacked_delays(stories: Sequence[NDArray], delays: Sequence[int]) -> list[NDArray]:
    """Delay the stories laid end to end: the last rows of a story reach into the first rows of the next."""
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
    """Write one line for each story whose features and responses have unequal numbers of TRs.

    Args:
        names: names of the stories.
        rows: numbers of rows of the features.
        responses: numbers of rows of the responses.
        trimmed: what was left out of the features, in words.
        trs: numbers of TRs of the recordings before trimming.
        explained: whether another message says what to do.
    """
    totals = [""] * len(names) if trs is None else [f" of the recording's {count}" for count in trs]
    advice = "" if explained else "; check `trim`, and that both belong to the same recording"
    return [
        f"story {name!r}: {have} rows of features after {trimmed}{total}, {want} rows of responses; expected equal "
        f"numbers, but they differ by {abs(have - want)} TRs{advice}"
        for name, have, want, total in zip(names, rows, responses, totals, strict=True)
        if have != want
    ]
