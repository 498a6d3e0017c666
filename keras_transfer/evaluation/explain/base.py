"""What an explainer is: from a model and images to maps of what its answer stands on."""

from typing import Any  # tensors of Keras's backend

import keras
import numpy as np

from keras_transfer.evaluation.explain.subject import Subject

__all__ = ["CAM", "Explainer"]


class Explainer:
    """A method that says which places of an image an answer stands on; subclass it for one of your own.

    A method has one file here and a row of `EXPLAINERS`. Its constructor checks and stores its settings.

    Example:
        >>> class Brightness(Explainer):
        ...     def explain(self, model, images, target):
        ...         return images.mean(axis=-1)
        >>> Brightness().needs_places
        False
    """

    needs_places = False
    """Whether it looks at a feature map, so that the model must have a layer with places."""

    is_signed = False
    """Whether places that speak against the answer have numbers below 0."""

    def explain(self, model: Subject, images: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Returns a map an image, (images, height, width) of any size: the higher, the more the answer stands on it.

        Args:
            model: One output of a model: `evidence(images)` says what speaks for each class.
            images: As the model takes them, (images, height, width, channels).
            target: The class of each image whose evidence is explained.
        """
        raise NotImplementedError


class CAM(Explainer):
    """A map that weighs the channels of a feature map, by default that at the end of the trunk, by gradients.

    A subclass has `combine`. One pass through the trunk, and one forth and back through what lies above it.
    """

    needs_places = True

    def explain(self, model: Subject, images: np.ndarray, target: np.ndarray) -> np.ndarray:
        """See `Explainer`."""
        features, gradient = model.gradients_of_features(images, target)
        weighed = keras.ops.relu(self.combine(features, gradient))
        return keras.ops.convert_to_numpy(weighed)

    def combine(self, features: Any, gradient: Any) -> Any:
        """Returns what speaks for the answer at each place, (images, height, width), with `keras.ops`.

        Args:
            features: Of the images, (images, height, width, channels).
            gradient: Of the answer's evidence by `features`.
        """
        raise NotImplementedError
