"""Studies over several seeds: does training tasks together help them?"""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.studies.task_comparison import TaskComparison
from keras_transfer.studies.task_study import compare_tasks

__all__ = ["TaskComparison", "compare_tasks"]

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)
