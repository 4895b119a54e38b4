"""Ridge regression from features of stories to voxels, scored on held-out stories, with one alpha per voxel.

    b = argmin |X b - y|^2 + alpha |b|^2            (Hoerl & Kennard 1970)

alpha is the penalty on the squared norm, as in scikit-learn and himalaya. With convention "huth" it is the square root
of that penalty, as in the code of the Huth laboratory. Every story is predicted by an exact model of the stories
outside its fold (`held_out`), at an alpha that does not depend on the story's own scores (`alpha_selection`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from numpy.typing import ArrayLike

from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.ridge.fit import Progress, Run
from encoderlab.brain.ridge.folds import Folds
from encoderlab.brain.ridge.inputs import checked
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
        """Predict every story from the stories outside its fold, and score the predictions.

        Args:
            features: one (T_s, F) array a story, with the rows of the responses.
            responses: the responses to the same stories.
            folds: the stories held out together; None leaves one story out at a time.
            only: the numbers of the folds to score, for features that were made without the stories of those folds;
                all other folds stay without a score.
            held_out: held_out(story, voxels, predicted, actual) gets every prediction once, (T_s, voxels) in the unit
                of the responses.
            device: of torch, e.g. "cpu" or "cuda".
            progress: progress(done, all) is called after each model, in models x voxels.

        Raises:
            InputError: features, responses and folds do not fit together, or the device cannot be used.
        """
        folds = Folds.leave_one_out(len(responses)) if folds is None else folds
        run = Run(
            self,
            checked(features, responses, folds),
            responses,
            folds,
            only=only,
            held_out=held_out,
            device=device,
            progress=progress,
        )
        return run.result()
