"""Why a model answers as it does: a method one file, and one row of `EXPLAINERS`."""

from keras_transfer.evaluation.explain.base import CAM, Explainer
from keras_transfer.evaluation.explain.grad_cam import GradCAM
from keras_transfer.evaluation.explain.grad_cam_plus_plus import GradCAMPlusPlus
from keras_transfer.evaluation.explain.hires_cam import HiResCAM
from keras_transfer.evaluation.explain.integrated_gradients import IntegratedGradients
from keras_transfer.evaluation.explain.layer_cam import LayerCAM
from keras_transfer.evaluation.explain.occlusion import Occlusion
from keras_transfer.evaluation.explain.rise import RISE
from keras_transfer.evaluation.explain.rollout import AttentionRollout
from keras_transfer.evaluation.explain.score_cam import ScoreCAM
from keras_transfer.evaluation.explain.smooth_grad import SmoothGrad

__all__ = [
    "CAM", "EXPLAINERS", "RISE", "AttentionRollout", "Explainer", "GradCAM", "GradCAMPlusPlus", "HiResCAM",
    "IntegratedGradients", "LayerCAM", "Occlusion", "ScoreCAM", "SmoothGrad",
]  # fmt: skip

# name: its class.
EXPLAINERS: dict[str, type[Explainer]] = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "layercam": LayerCAM,
    "hirescam": HiResCAM,
    "scorecam": ScoreCAM,
    "integrated_gradients": IntegratedGradients,
    "smoothgrad": SmoothGrad,
    "occlusion": Occlusion,
    "rise": RISE,
    "rollout": AttentionRollout,
}
