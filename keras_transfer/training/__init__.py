"""Adapting a pretrained model in stages."""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.optimizers.schedules import SCHEDULES, OneCycle, WarmUp
from keras_transfer.training.cache.settings import Cache
from keras_transfer.training.cache.traces import Traces
from keras_transfer.training.calibrating import calibrate
from keras_transfer.training.callbacks import GradualUnfreeze, TwoStage
from keras_transfer.training.fine_tune import fine_tune
from keras_transfer.training.freezing import freeze, unfreeze
from keras_transfer.training.layer_table import trainable_table
from keras_transfer.training.methods import (
    BSS,
    L2SP,
    METHODS,
    REGULARISERS,
    Delta,
    LowRank,
    Method,
    Penalty,
    Regulariser,
    SolvedHead,
    Trainee,
)  # fmt: skip
from keras_transfer.training.methods.head_fitting import solve_head
from keras_transfer.training.plans import PLANS
from keras_transfer.training.rates.layer_rates import (
    LogRates,
    decayed,
    layer_rates,
    learning_rates,
    multi_optimizer,
)
from keras_transfer.training.rates.search import RateSearch, find_learning_rate
from keras_transfer.training.ray_workers import RayTrainer, RayWorker, ray_trainer
from keras_transfer.training.recalibration import recalibrate
from keras_transfer.training.run.best import load_best
from keras_transfer.training.soups import SoupResult, soup
from keras_transfer.training.stages import Stage

__all__ = [
    "BSS", "Cache", "Delta", "GradualUnfreeze", "L2SP", "LogRates", "LowRank", "METHODS", "Method", "OneCycle",
    "PLANS", "Penalty", "REGULARISERS", "RateSearch", "RayTrainer", "RayWorker", "Regulariser", "SCHEDULES",
    "SolvedHead", "SoupResult", "Stage", "Traces", "Trainee", "TwoStage", "WarmUp", "calibrate", "decayed",
    "find_learning_rate", "fine_tune", "freeze", "layer_rates", "learning_rates", "load_best", "multi_optimizer",
    "ray_trainer", "recalibrate", "solve_head", "soup", "trainable_table", "unfreeze",
]  # fmt: skip

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)
