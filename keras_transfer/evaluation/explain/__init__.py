"""Why a model answers as it does: a method one file, and one row of `EXPLAINERS`."""

from keras_transfer.evaluation.explain.base import CAM, Explainer
from keras_transfer.evaluation.explain.grad_cam import GradCAM
from keras_transfer.evaluation.explain.grad_cam_plus_plus import GradCAMPlusPlus
from keras_transfer.evaluation.explain.hires_cam import HiResCAM
from keras_transfer.evaluation.explain.layer_cam import LayerCAM

__all__ = ["CAM", "EXPLAINERS", "Explainer", "GradCAM", "GradCAMPlusPlus", "HiResCAM", "LayerCAM"]

# name: its class.
EXPLAINERS: dict[str, type[Explainer]] = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "layercam": LayerCAM,
    "hirescam": HiResCAM,
}
