"""Studies over several seeds: does training tasks together help them?"""

from keras_transfer.studies.task_comparison import TaskComparison
from keras_transfer.studies.task_study import compare_tasks

__all__ = ["TaskComparison", "compare_tasks"]
