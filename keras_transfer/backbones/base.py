"""The model that every backbone is, wherever it comes from."""

import keras

from keras_transfer import layers
from keras_transfer.graphs import blocks as graph_blocks
from keras_transfer.layers import marks

__all__ = ["Backbone"]


@keras.saving.register_keras_serializable("keras_transfer")
class Backbone(keras.Model):
    """A functional model from pixels 0..255 to a feature map, which knows its blocks and levels.

    Its graph is `Input -> Preprocess -> the network's own layers -> Representation`. Otherwise it is an ordinary
    Keras model: call it, summarise it, save it, build on `backbone.output`.

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
        """Makes a backbone of a graph by marking its end.

        Args:
            images: The graph's input.
            features: The feature map that was computed from `images`.
            source: See `layers.Representation`.
            name: The model's name.
        """
        mark = layers.Representation(source, name="representation")
        return cls(images, mark(features), name=name)

    @property
    def source(self) -> dict:
        """Where it comes from: name, weights, arguments."""
        return marks.end_of_trunk(self).source

    @property
    def blocks(self) -> list[graph_blocks.Block]:
        """Its blocks, bottom to top. Each layer is in exactly one, and no boundary cuts a residual connection."""
        return marks.blocks(self)

    @property
    def levels(self) -> dict[str, str]:
        """The last operation of each resolution: `{"P2": ..., "P5": ...}`, where P3 has stride 8."""
        mark = marks.end_of_trunk(self)
        return graph_blocks.levels(self, pattern=self.source.get("blocks"), until=mark.input)
