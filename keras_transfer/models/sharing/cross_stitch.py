"""A trunk for each task, and places where they look at each other."""

from collections.abc import Iterable, Mapping

import keras

from keras_transfer import layers, tasks
from keras_transfer.core import checks
from keras_transfer.graphs import nodes
from keras_transfer.models.sharing import base

__all__ = ["CrossStitched"]


class CrossStitched(base.Sharing):
    """Every task has a copy of the whole trunk, and learnt matrices mix their activations (Misra et al. 2016).

    The copies begin with the backbone's weights and are named after their tasks: "age_block_13_expand". The
    backbone itself is not trained. The matrices train in a stage of the head.

    Args:
        at: Patterns of blocks (or layers) at whose ends activations are mixed. By default the last block of each
            resolution from stride 4 on, so two to four places; every block in a network without maps.
        own: See `layers.CrossStitch`; 1.0 starts with trunks that are apart.
        weights: See `layers.CrossStitch`.

    Example:
        >>> import keras_transfer as kt
        >>> two = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), two, sharing="cross_stitch")
        keras_transfer: cross-stitch: the tasks' activations are mixed after block2_relu, block4_1_relu
        >>> tuple(model.get_layer("cross_stitch_1").matrix.shape)
        (2, 2, 64)
    """

    def __init__(
        self, at: str | Iterable[str] | None = None, *, own: float = 0.9, weights: str = "channel"
    ) -> None:
        layers.CrossStitch(own=own, weights=weights)  # checks them
        self.at = at
        self.own = own
        self.weights = weights

    def features(self, backbone: keras.Model, named: Mapping[str, tasks.Task]) -> base.Features:
        """See `Sharing`."""
        base.refuse_levels(named, "cross-stitch")
        points = base.tap_points(backbone, self.at)
        if self.at is None:
            checks.note(f"cross-stitch: the tasks' activations are mixed after {', '.join(points)}")
        mixed_at = {id(tensor) for tensor in points.values()}

        names = base.Names(backbone, named)
        copies = {name: base.Copies(name, names) for name in named}
        inputs = {id(tensor): tensor for tensor in backbone.inputs}
        values = {name: dict(inputs) for name in named}
        order = nodes.nodes(backbone)
        end = backbone.outputs[0]
        stitches = 0
        for position in sorted(nodes.ancestors(order, [end])):
            node = order[position]
            if not node.inputs:
                continue
            if _is_common(node, values):
                for mine in values.values():
                    mine.update((id(tensor), tensor) for tensor in node.outputs)
            else:
                for name, mine in values.items():
                    mine.update(nodes.call(node, mine, copies[name](node.operation)))

            key = id(node.outputs[0])
            if key in mixed_at:
                stitches += 1
                stitch = layers.CrossStitch(
                    own=self.own, weights=self.weights, name=names.free(f"cross_stitch_{stitches}")
                )
                mixed = stitch([mine[key] for mine in values.values()])
                for mine, tensor in zip(values.values(), mixed, strict=True):
                    mine[key] = tensor

        for own_copies in copies.values():
            own_copies.fill()
        starts = {
            name: base.stop_if_asked(values[name][id(end)], name, task)
            for name, task in named.items()
        }
        return base.gather(backbone, starts, named)


def _is_common(node: nodes.Node, values: Mapping[str, Mapping[int, keras.KerasTensor]]) -> bool:
    """Says whether a call has no weights and only inputs that all trunks share, as the preprocessing has."""
    untouched = all(
        mine[id(tensor)] is tensor for mine in values.values() for tensor in node.inputs
    )
    return untouched and not getattr(node.operation, "weights", None)
