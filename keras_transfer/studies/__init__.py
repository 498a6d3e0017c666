"""Studies: what is wrong with data, before it costs a training run; which way to a model is better, and by how much?"""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.studies.arm_study import compare
from keras_transfer.studies.arms import make as make_arms
from keras_transfer.studies.best_in_time.leaderboard import Leaderboard
from keras_transfer.studies.best_in_time.search import auto
from keras_transfer.studies.candidates import name_all as name_candidates
from keras_transfer.studies.comparison import Comparison
from keras_transfer.studies.doctor import CHECKS
from keras_transfer.studies.doctor.base import Finding
from keras_transfer.studies.doctor.examine import doctor
from keras_transfer.studies.doctor.findings import Findings
from keras_transfer.studies.ranking import Ranking
from keras_transfer.studies.ranking_study import rank_backbones
from keras_transfer.studies.task_comparison import TaskComparison
from keras_transfer.studies.task_study import compare_tasks
from keras_transfer.studies.tpu.check import check_tpu
from keras_transfer.studies.tpu.report import TpuCheck

__all__ = [
    "CHECKS",
    "Comparison",
    "Finding",
    "Findings",
    "Leaderboard",
    "Ranking",
    "TaskComparison",
    "TpuCheck",
    "auto",
    "check_tpu",
    "compare",
    "compare_tasks",
    "doctor",
    "make_arms",
    "name_candidates",
    "rank_backbones",
]

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)
