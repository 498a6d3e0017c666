"""Studies over several seeds: does training tasks together help them?"""

from keras_transfer.comparing.compare_tasks import compare_tasks
from keras_transfer.comparing.task_comparison import TaskComparison

__all__ = ["TaskComparison", "compare_tasks"]
