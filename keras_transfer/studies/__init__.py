"""Studies over several seeds: does training tasks together help them?"""

from keras_transfer.studies.compare_tasks import compare_tasks
from keras_transfer.studies.task_comparison import TaskComparison

__all__ = ["TaskComparison", "compare_tasks"]
