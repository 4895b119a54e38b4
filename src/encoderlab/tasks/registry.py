"""What rows mean: one file per task. TASKS is the only list of them."""

from encoderlab.tasks.base import Task
from encoderlab.tasks.classification import Classification
from encoderlab.tasks.masked_lm import MaskedLM
from encoderlab.tasks.multiple_choice import MultipleChoice
from encoderlab.tasks.regression import Regression
from encoderlab.tasks.token_classification import TokenClassification

TASKS: tuple[type[Task], ...] = (Classification, MultipleChoice, MaskedLM, Regression, TokenClassification)
