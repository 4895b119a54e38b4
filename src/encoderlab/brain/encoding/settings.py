"""The sections of an encoding study. What a key means stands in its class's docstring."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal, final

import numpy as np
from annotated_types import Ge, Gt, MinLen

from encoderlab.brain.fmri.design import Design
from encoderlab.core.types import Count

Positive = Annotated[float, Gt(0)]
TRs = Annotated[int, Ge(0)]


@final
@dataclass(frozen=True, kw_only=True)
class StudyHeader:
    """The keys above the first section.

    name: of the study; default: the name of its file
    out: folder of the results; default: results/<name>
    """

    name: str | None = None
    out: str | None = None


@final
@dataclass(frozen=True, kw_only=True)
class StoriesSection:
    """Where the stories are.

    path: raw_text.pkl, our .parquet, a TextGrid, TSV, CSV, JSON or CTM file of words with times, or a folder of those
    names: only these stories; default: all of the file
    tier: of a TextGrid or another file with tiers, by name or number; default: the one that holds words by its name
    marks: texts that nobody said, beside the usual ones (sp, {NS}, [laughter], <eps>, ...); left out and counted
    tr: seconds of a TR; files of words do not know it
    before: seconds from the first TR to the beginning of such a file, below 0 if it began earlier; a table such as
        { story = 12.5 } or a TSV or JSON file gives every story its own
    after: seconds from its end to that of the last TR; a table or a file as for before
    """

    path: str
    names: Annotated[tuple[str, ...], MinLen(1)] | None = None
    tier: str | Annotated[int, Ge(1)] | None = None
    marks: tuple[str, ...] = ()
    tr: Positive = 2.0
    before: float | dict[str, float] | str = 10.0
    after: float | dict[str, float] | str = 10.0


@final
@dataclass(frozen=True, kw_only=True)
class Reference:
    """The laboratory's own pipeline instead of held-out stories, for people who must match old numbers.

    test: names of the test stories; all others train
    boots: bootstraps that choose alpha
    chunk: TRs of a chunk
    chunks: held out in each bootstrap
    use_corr: alpha by r; false: by the signed root of R2, as the laboratory's command does by default
    """

    test: Annotated[tuple[str, ...], MinLen(1)]
    boots: Count = 50
    chunk: Count = 40
    chunks: Count = 125
    use_corr: bool = True


@final
@dataclass(frozen=True, kw_only=True)
class Encode:
    """From word vectors to held-out correlations.

    downsample: from words to TRs
    window: lobes of the Lanczos kernel
    trim: TRs left out of the features in front and at the end, as they are of the responses
    zscore: features within each story
    centre: responses about their mean within each story; the laboratory's pipeline takes them as they are
    repeats: of responses to a story that was played several times: refuse, average them, or take the first
    delays: in TRs
    after_stacking: delays made after stacking the stories, as the laboratory's code does, across their borders
    unmatched: stories without responses, or responses without a story: refuse, or leave them out
    folds: stories held out at a time in this many folds; default: each story by itself
    alphas: the grid of penalties; default: 13 from 1e2 to 1e8
    convention: what alpha means: the penalty on the squared norm, or (huth) its square root
    scheme: nested chooses alpha inside the training stories; flat by the held-out scores of the other stories
    groups: of training stories in the inner folds of nested; default: one by one up to 10, then 10
    shared_alpha: one alpha for all voxels
    fitted: groups of held-out stories for which what is fitted to training stories (a vocabulary, an adapter) is made
    adapt: adapters of a masked-lm study as they are, or trained again without the held-out stories
    permutations: of blocks within stories; 0 leaves the test out
    block: TRs of a block
    q: false discovery rate at which a voxel counts as significant
    reference: label of the feature space to compare with; default: the first
    banded: one more model of all feature spaces at once, with a penalty each (extra brain)
    memory_gib: for a batch of voxels
    device: cpu or cuda; auto takes the GPU if there is one
    seed: of folds, permutations and intervals
    """

    downsample: Literal["lanczos", "average", "last", "sum"] = "lanczos"
    window: Positive = 3.0
    trim: tuple[TRs, TRs] = (10, 5)
    zscore: bool = True
    centre: bool = True
    repeats: Literal["refuse", "average", "first"] = "refuse"
    delays: Annotated[tuple[int, ...], MinLen(1)] = (1, 2, 3, 4)
    after_stacking: bool = False
    unmatched: Literal["refuse", "leave out"] = "refuse"
    folds: Annotated[int, Ge(2)] | None = None
    alphas: Annotated[tuple[Positive, ...], MinLen(1)] = tuple(float(f"{a:.4g}") for a in np.logspace(2, 8, 13))
    convention: Literal["squared-norm", "huth"] = "squared-norm"
    scheme: Literal["nested", "flat"] = "nested"
    groups: Annotated[int, Ge(3)] | None = None
    shared_alpha: bool = False
    fitted: Annotated[int, Ge(2)] = 10
    adapt: Literal["all stories", "without held-out"] = "all stories"
    permutations: Annotated[int, Ge(0)] = 1000
    block: Count = 20
    q: Positive = 0.05
    reference: str | None = None
    banded: bool = False
    memory_gib: Positive = 2.0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: Annotated[int, Ge(0)] = 0

    @property
    def design(self) -> Design:
        return Design(**{f.name: getattr(self, f.name) for f in fields(Design)})
