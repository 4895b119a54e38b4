"""What rows mean: one file per task. TASKS is the only list of them."""

from encoderlab.tasks.base import Encoded, Task
from encoderlab.tasks.classification import Classification

TASKS: tuple[type[Task], ...] = (Classification,)

__all__ = ["TASKS", "Classification", "Encoded", "Task"]
