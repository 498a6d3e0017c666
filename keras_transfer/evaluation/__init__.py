"""Measuring a model: one pass over labelled images, and a report to read, to share and to compute with."""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.evaluation.board import write_board
from keras_transfer.evaluation.evaluate import evaluate
from keras_transfer.evaluation.explain import (
    CAM,
    EXPLAINERS,
    RISE,
    AttentionRollout,
    Explainer,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    IntegratedGradients,
    LayerCAM,
    Occlusion,
    ScoreCAM,
    SmoothGrad,
)
from keras_transfer.evaluation.explain.explaining import explain
from keras_transfer.evaluation.explain.explanation import Explanation
from keras_transfer.evaluation.explain.quality import Assessment, assess_explanation, pointing_game
from keras_transfer.evaluation.illustrating import illustrate
from keras_transfer.evaluation.predictions import Predictions, predict, predict_to_file
from keras_transfer.evaluation.report import Report
from keras_transfer.evaluation.representation.comparison import BlockComparison, compare_blocks
from keras_transfer.evaluation.representation.maps import RepresentationMap, representation_map
from keras_transfer.evaluation.representation.neighbours import Neighbours, nearest
from keras_transfer.evaluation.run_comparison import RunComparison, compare_runs
from keras_transfer.evaluation.video import predict_video

__all__ = [
    "CAM", "EXPLAINERS", "RISE", "Assessment", "AttentionRollout", "BlockComparison", "Explainer", "Explanation",
    "GradCAM", "GradCAMPlusPlus", "HiResCAM", "IntegratedGradients", "LayerCAM", "Neighbours", "Occlusion",
    "Predictions", "Report", "RepresentationMap", "RunComparison", "ScoreCAM", "SmoothGrad", "assess_explanation",
    "compare_blocks", "compare_runs", "evaluate", "explain", "illustrate", "nearest", "pointing_game", "predict",
    "predict_to_file", "predict_video", "representation_map", "write_board",
]  # fmt: skip

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)
