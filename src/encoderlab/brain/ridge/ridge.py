"""Ridge regression from features of stories to voxels, scored on held-out stories, alpha chosen per voxel.

    b = argmin |X b - y|^2 + alpha |b|^2            (Hoerl & Kennard 1970)

alpha is the penalty on the squared norm, as in scikit-learn and himalaya; with convention "huth" it is the square root
of that penalty, as in the code of the Huth laboratory. Every story is predicted by a model of the stories outside its
fold, exactly (`heldout`), at an alpha that its own scores had no part in (`selection`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from numpy.typing import ArrayLike

from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.ridge.fit import Progress, Run, checked
from encoderlab.brain.ridge.folds import Folds
from encoderlab.brain.ridge.result import RidgeResult
from encoderlab.brain.ridge.settings import RidgeSettings
from encoderlab.brain.ridge.solver import HeldOut


class Ridge(RidgeSettings):
    """Ridge regression scored on held-out stories; see `RidgeSettings` for its arguments."""

    def score(
        self,
        features: Sequence[ArrayLike],
        responses: StoryResponses,
        folds: Folds | None = None,
        *,
        only: Collection[int] | None = None,
        held_out: HeldOut | None = None,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> RidgeResult:
        """Predict every story from stories outside its fold, and score that. features[s]: (T_s, F), rows as responses.

        folds: None leaves one story out at a time. only: the numbers of the folds to score, for features that were
        made without the stories of those; all other folds stay without a score. held_out(story, voxels, predicted,
        actual): gets every prediction once, (T_s, voxels) in the unit of the responses. progress(done, all), in models
        x voxels.
        """
        folds = Folds.leave_one_out(len(responses)) if folds is None else folds
        return Run(
            self, checked(features, responses, folds), responses, folds, only, held_out, device, progress
        ).result()
