"""DELTA: the feature maps stay near those of the pretrained network, the useful channels most of all."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer.core import checks
from keras_transfer.graphs import blocks, nodes, paths
from keras_transfer.layers import marks
from keras_transfer.machine import engine
from keras_transfer.training.methods import penalties

__all__ = ["Delta", "channel_importance"]

BATCH_SIZE = 64
TEMPERATURE = 5.0  # of the softmax over standardised importances, as in the authors' code


@keras.saving.register_keras_serializable("keras_transfer")
class Delta(penalties.Regulariser):
    """Adds `weight/2 * mean of sum_c attention_c * (f_c - f0_c)**2` over the maps f of several layers.

    From Li, Xiong, Wang, Rao, Liu and Huan, "DELTA: Deep Learning Transfer using Feature Map with
    Attention" (2019). f0 is what the pretrained network, in inference mode, makes of the same images;
    the sum is over channels, the mean over images and places. A second sum, `beta/2 * sum w**2`, is over
    the head's kernels. Layers without anything that trains below them cost nothing. The pretrained copy
    makes a training step about a third longer and doubles the memory for weights. Computed in float32.
    Batch normalisations that train use the batch's statistics, which the copy does not: keep them in
    inference mode.

    All channels count alike unless `attention` is given; the paper's is `channel_importance`. Random
    layers inside the model (augmentation) would show the copy other images: keep those in the data.

    Args:
        weight: Of the distance; the paper's alpha.
        beta: Pull of the head towards zero.
        layers: Patterns of the layers whose outputs are compared; by default the last of each
            resolution (`backbone.levels`), or else the trunk's end.
        attention: An array per layer, by name, with a weight for each channel; of mean 1 to keep the
            penalty's size.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(2))
        >>> with Delta(0.01).attached(model) as training_model:
        ...     history = training_model.fit(np.zeros((4, 32, 32, 3)), np.array([0, 1, 1, 0]), verbose=0)
    """

    def __init__(
        self,
        weight: float = 0.01,
        *,
        beta: float = 0.01,
        layers: str | Sequence[str] | None = None,
        attention: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self.weight = checks.number(weight, name="weight", minimum=0)
        self.beta = checks.number(beta, name="beta", minimum=0)
        self.layers = layers
        self.attention = None
        if attention:
            self.attention = {
                name: np.asarray(weights, "float64").tolist() for name, weights in attention.items()
            }

    def penalty(
        self, model: keras.Model, reference: penalties.Reference
    ) -> penalties.Penalty | None:
        """Returns the distance of the maps and the decay of the head."""
        head = penalties.kernels(model)[1] if self.beta else {}
        taps = find_taps(model, self.layers) if self.weight else {}
        attention = [self._attention(name, tensor) for name, tensor in taps.items()]
        below = penalties.variables_below(model, taps.values())
        pretrained = _copy(model, list(taps.values()), reference) if taps else None
        inputs = [*model.inputs] if taps else []

        def value(tapped_values: list) -> object:
            terms = []
            for kernel in head.values():
                if kernel.trainable:
                    terms.append(0.5 * self.beta * ops.sum(ops.square(kernel)))

            active = []
            for at, variables in enumerate(below):
                if any(variable.trainable for variable in variables):
                    active.append(at)
            if active and pretrained is not None:
                images, maps = tapped_values[: len(inputs)], tapped_values[len(inputs) :]
                # Keras unpacks a list of one.
                pretrained_maps = keras.tree.flatten(pretrained(images, training=False))
                for at in active:
                    distance = _distance(maps[at], pretrained_maps[at], attention[at])
                    terms.append(0.5 * self.weight * distance)
            return sum(terms) if terms else None

        return penalties.Penalty([*inputs, *taps.values()], value) if taps or head else None

    def _attention(self, name: str, tensor: keras.KerasTensor) -> np.ndarray:
        channels = tensor.shape[-1]
        if self.attention is None:
            return np.ones(channels, "float32")
        if name not in self.attention or len(self.attention[name]) != channels:
            given = f"none for {name!r}"
            if name in self.attention:
                given = f"{len(self.attention[name])} of them"
            raise checks.error(
                f"`attention` must have {channels} weights for {name!r}", given=given
            )
        return np.asarray(self.attention[name], "float32")

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {
            "weight": self.weight,
            "beta": self.beta,
            "layers": self.layers,
            "attention": self.attention,
        }


def _distance(maps: object, pretrained: object, attention: np.ndarray) -> Any:
    """Returns the mean squared distance of two maps (batch, places..., channels), summed over weighted channels."""
    difference = ops.cast(maps, "float32") - ops.stop_gradient(ops.cast(pretrained, "float32"))
    return ops.mean(ops.sum(attention * ops.square(difference), axis=-1))


def find_taps(
    model: keras.Model, patterns: str | Sequence[str] | None
) -> dict[str, keras.KerasTensor]:
    """Returns the outputs of the layers to compare, by the layer's name, bottom to top."""
    outputs = {node.operation.name: node.outputs[0] for node in nodes.nodes(model) if node.inputs}
    if patterns is not None:
        return {name: outputs[name] for name in paths.match(outputs, patterns, argument="layers")}
    mark = marks.representation(model)
    if mark is not None:
        levels = blocks.levels(model, pattern=mark.source.get("blocks"), until=mark.input)
        if levels:
            return {name: outputs[name] for name in levels.values()}
    end = penalties.trunk_end(model)
    return {next(name for name, tensor in outputs.items() if tensor is end): end}


def _copy(
    model: keras.Model, taps: list[keras.KerasTensor], reference: penalties.Reference
) -> keras.Model:
    """The pretrained network up to `taps`, with variables of its own, which no model tracks."""
    lower = keras.Model(list(model.inputs), taps)
    copy = keras.models.clone_model(lower)
    values = penalties.values_at(paths.variables(lower), reference)
    for variable, value in zip(paths.variables(copy).values(), values.values(), strict=True):
        variable.assign(value)
    return copy


def channel_importance(
    model: keras.Model,
    images: np.ndarray,
    targets: object,
    *,
    layers: str | Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Returns DELTA's attention: how much the loss grows without a channel, as weights of mean 1.

    Each channel of each layer is set to zero in turn; the growths are standardised and passed through a
    softmax of temperature 5. The head must know the data already: train it on the frozen trunk first (or
    use `kt.training.solve_head`). Costs a pass of the images through the layers above for every channel (for
    "tiny", 128 images and 320 channels: 3 seconds of one core): some hundred images are enough.

    Args:
        model: A compiled model with a trained head.
        images: As the model takes them.
        targets: As its loss takes them.
        layers: As for `Delta`.

    Example:
        >>> dense = [keras.layers.Dense(4, name="trunk"), keras.layers.Dense(2, activation="softmax", name="head")]
        >>> model = keras.Sequential([keras.Input((3,)), *dense])
        >>> model.compile(loss="sparse_categorical_crossentropy")
        >>> channel_importance(model, np.eye(3), np.array([0, 1, 1]), layers="trunk")["trunk"].shape
        (4,)
    """
    nodes.check_functional(model)
    if not getattr(model, "compiled", False):
        raise checks.error(
            "`model` must be compiled",
            given=f"{model.name!r}, which is not",
            fix="Call model.compile.",
        )
    order = nodes.nodes(model)
    importance = {}
    for name, tensor in find_taps(model, layers).items():
        positions = nodes.ancestors(order, [tensor])
        lower, upper = nodes.cut(model, positions)
        at = next(index for index, crossing in enumerate(lower.outputs) if crossing is tensor)
        values = [np.asarray(each) for each in keras.tree.flatten(lower.predict(images, verbose=0))]
        losses = [_loss(model, upper, values, targets)]
        for channel in range(values[at].shape[-1]):
            kept = values[at][..., channel].copy()
            values[at][..., channel] = 0
            losses.append(_loss(model, upper, values, targets))
            values[at][..., channel] = kept
        importance[name] = _attention(np.array(losses[1:]) - losses[0])
    return importance


def _loss(
    model: keras.Model, upper: keras.Model, values: list[np.ndarray], targets: object
) -> float:
    parts = []
    for start in range(0, len(values[0]), BATCH_SIZE):
        batch = [each[start : start + BATCH_SIZE] for each in values]
        # `predict` takes longer to start.
        parts.append(engine.predict_on_batch(upper, batch if len(batch) > 1 else batch[0]))
    outputs = keras.tree.map_structure(lambda *each: np.concatenate(each), *parts)
    return float(model.compute_loss(y=targets, y_pred=outputs, training=False))


def _attention(growths: np.ndarray) -> np.ndarray:
    """Returns weights of mean 1 from the growth of the loss without each channel."""
    deviation = growths.std() or 1.0
    weights = np.exp((growths - growths.mean()) / (TEMPERATURE * deviation))
    return weights / weights.mean()
