"""What every backbone is, wherever it comes from."""

import keras

from keras_transfer import layers
from keras_transfer.graphs import blocks as core_blocks
from keras_transfer.layers import marks

__all__ = ["Backbone"]


@keras.saving.register_keras_serializable("keras_transfer")
class Backbone(keras.Model):
    """A functional model from pixels 0..255 to a feature map, which knows its blocks and levels.

    Its graph is `Input -> Preprocess -> the network's own layers -> Representation`. It is an
    ordinary Keras model otherwise: call it, summarise it, save it, build on `backbone.output`.

    Example:
        >>> images = keras.Input((32, 32, 3))
        >>> Backbone.of(images, keras.layers.Conv2D(4, 3)(images), source={"name": "mine"}).source["name"]
        'mine'
    """

    @classmethod
    def of(
        cls,
        images: keras.KerasTensor,
        features: keras.KerasTensor,
        *,
        source: dict,
        name: str = "backbone",
    ) -> "Backbone":
        """Makes a backbone of a graph by putting the representation's mark on its end.

        Args:
            images: The graph's input.
            features: The feature map that was computed from `images`.
            source: See `layers.Representation`.
            name: The model's name.
        """
        return cls(
            images, layers.Representation(source, name="representation")(features), name=name
        )

    @property
    def source(self) -> dict:
        """Where it comes from: name, weights, arguments."""
        return marks.representation(self).source

    @property
    def blocks(self) -> list[core_blocks.Block]:
        """Its blocks bottom to top; no block cuts a residual connection, and each layer is in exactly one."""
        return marks.blocks(self)

    @property
    def levels(self) -> dict[str, str]:
        """The operation that ends each resolution: `{"P2": ..., "P5": ...}`, P3 having stride 8."""
        mark = marks.representation(self)
        return core_blocks.levels(self, pattern=self.source.get("blocks"), until=mark.input)
