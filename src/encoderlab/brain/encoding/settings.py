"""The sections of an encoding study. The `Doc` of a key is what messages and docs/encoding-study.md say about it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal, final

import numpy as np
from annotated_types import Ge, Gt, MinLen

from encoderlab.brain.fmri.design import Design
from encoderlab.core.types import Count, Doc

Positive = Annotated[float, Gt(0)]
TRs = Annotated[int, Ge(0)]


@final
@dataclass(frozen=True, kw_only=True)
class EncodingHeader:
    """The keys above the first section."""

    name: Annotated[str | None, Doc("name of the study; default: the name of its file")] = None
    out: Annotated[str | None, Doc("folder of the results; default: results/<name>")] = None


@final
@dataclass(frozen=True, kw_only=True)
class StoriesSection:
    """The section [stories]: the words of the stories and their times."""

    path: Annotated[
        str,
        Doc(
            "raw_text.pkl, a .parquet file of encoderlab, a file of words with times (TextGrid, TSV, "
            "CSV, JSON or CTM), or a folder of such files"
        ),
    ]
    names: Annotated[
        Annotated[tuple[str, ...], MinLen(1)] | None, Doc("names of the stories to use; default: all stories")
    ] = None
    tier: Annotated[
        str | Annotated[int, Ge(1)] | None,
        Doc(
            "name or number of the tier with the words, in a TextGrid or another file with tiers; "
            "default: found by its name"
        ),
    ] = None
    marks: Annotated[
        tuple[str, ...],
        Doc(
            "texts that are not spoken words, in addition to the usual ones (sp, {NS}, [laughter], "
            "<eps>, ...); they are left out and counted"
        ),
    ] = ()
    tr: Annotated[Positive, Doc("seconds of one TR; files of words with times do not contain it")] = 2.0
    before: Annotated[
        float | dict[str, float] | str,
        Doc(
            "seconds from the first TR to the start of the recording, for files of words with times; "
            "negative if the recording started first. A table such as { story = 12.5 }, or a TSV or "
            "JSON file, sets it for each story"
        ),
    ] = 10.0
    after: Annotated[
        float | dict[str, float] | str,
        Doc("seconds from the end of the recording to the end of the last TR; a table or a file as for before"),
    ] = 10.0


@final
@dataclass(frozen=True, kw_only=True)
class Reference:
    """The section [reference]: the laboratory's own pipeline instead of held-out stories."""

    test: Annotated[tuple[str, ...], MinLen(1), Doc("names of the test stories; all others are training stories")]
    boots: Annotated[Count, Doc("number of bootstraps that choose alpha")] = 50
    chunk: Annotated[Count, Doc("number of TRs in a chunk")] = 40
    chunks: Annotated[Count, Doc("number of chunks that each bootstrap holds out")] = 125
    use_corr: Annotated[
        bool,
        Doc(
            "whether alpha is chosen by r; false chooses it by the signed root of R2, as the "
            "laboratory's command does by default"
        ),
    ] = True


@final
@dataclass(frozen=True, kw_only=True)
class Encode:
    """The section [encode]: from word vectors to held-out correlations."""

    downsample: Annotated[
        Literal["lanczos", "average", "last", "sum"], Doc("how word vectors become one row per TR")
    ] = "lanczos"
    window: Annotated[Positive, Doc("number of lobes of the Lanczos kernel")] = 3.0
    trim: Annotated[
        tuple[TRs, TRs],
        Doc("numbers of TRs to leave out of the features at the start and at the end, to match the responses"),
    ] = (10, 5)
    zscore: Annotated[bool, Doc("whether features are z-scored within each story")] = True
    centre: Annotated[
        bool,
        Doc(
            "whether the mean of the responses is subtracted within each story; the laboratory's "
            "pipeline does not do this"
        ),
    ] = True
    repeats: Annotated[
        Literal["refuse", "average", "first"],
        Doc(
            "what to do with responses to a story that was played several times: refuse them, average "
            "them, or use the first"
        ),
    ] = "refuse"
    delays: Annotated[tuple[int, ...], MinLen(1), Doc("delays of the features, in TRs")] = (1, 2, 3, 4)
    after_stacking: Annotated[
        bool,
        Doc(
            "whether to delay the features after stacking the stories, across their borders, as the "
            "laboratory's code does"
        ),
    ] = False
    unmatched: Annotated[
        Literal["refuse", "leave out"],
        Doc("what to do with stories without responses, and responses without a story: refuse them, or leave them out"),
    ] = "refuse"
    folds: Annotated[
        Annotated[int, Ge(2)] | None, Doc("number of folds in which stories are held out; default: one fold per story")
    ] = None
    alphas: Annotated[
        tuple[Positive, ...], MinLen(1), Doc("ridge penalties to choose from; default: 13 from 1e2 to 1e8")
    ] = tuple(float(f"{a:.4g}") for a in np.logspace(2, 8, 13))
    convention: Annotated[
        Literal["squared-norm", "huth"],
        Doc("what alpha means: the penalty on the squared norm, or (huth) its square root"),
    ] = "squared-norm"
    scheme: Annotated[
        Literal["nested", "flat"],
        Doc(
            "how alpha is chosen: nested uses the training stories only, flat uses the held-out "
            "scores of the other stories"
        ),
    ] = "nested"
    groups: Annotated[
        Annotated[int, Ge(3)] | None,
        Doc(
            "number of inner folds of training stories in the nested scheme; default: one per story "
            "up to 10 stories, then 10"
        ),
    ] = None
    shared_alpha: Annotated[bool, Doc("whether all voxels share one alpha")] = False
    fitted: Annotated[
        int,
        Ge(2),
        Doc(
            "number of groups of held-out stories; what is fitted to training stories (a vocabulary, "
            "an adapter) is fitted once for each group"
        ),
    ] = 10
    adapt: Annotated[
        Literal["all stories", "without held-out"],
        Doc(
            "which adapters of a masked-lm study to use: those trained on all stories, or new ones "
            "trained without the held-out stories"
        ),
    ] = "all stories"
    permutations: Annotated[
        int, Ge(0), Doc("number of permutations of blocks within stories; 0 leaves the test out")
    ] = 1000
    block: Annotated[Count, Doc("number of TRs in a block")] = 20
    q: Annotated[Positive, Doc("false discovery rate at which a voxel counts as significant")] = 0.05
    reference: Annotated[
        str | None, Doc("label of the feature space that the others are compared with; default: the first")
    ] = None
    banded: Annotated[
        bool, Doc("whether to add one model of all feature spaces, with a penalty for each (needs the extra brain)")
    ] = False
    memory_gib: Annotated[Positive, Doc("memory for a batch of voxels, in GiB")] = 2.0
    device: Annotated[Literal["auto", "cpu", "cuda"], Doc("cpu or cuda; auto uses the GPU if there is one")] = "auto"
    seed: Annotated[int, Ge(0), Doc("random seed of folds, permutations and intervals")] = 0

    @property
    def design(self) -> Design:
        """The settings that turn word vectors into rows of a design matrix."""
        return Design(**{f.name: getattr(self, f.name) for f in fields(Design)})
