"""A table of what trains."""

import itertools
from collections.abc import Sequence

import keras
import numpy as np

from keras_transfer.graphs import paths
from keras_transfer.layers import marks
from keras_transfer.training import freezing

__all__ = ["TrainableTable", "trainable_table"]

LEARNS = "batch statistics"
STAYS = "inference mode"


class TrainableTable(list):
    """Rows of `trainable_table`, printed as a table."""

    def __str__(self) -> str:
        has_blocks = any("layers" in row for row in self)
        title = "block" if has_blocks else "layer"
        width = max([len(row["path"]) for row in self], default=len(title))
        lines = [f"{title:<{width}}  {'parameters':>12}  trains"]
        for row in self:
            lines.append(f"{row['path']:<{width}}  {row['parameters']:>12,}  {row['mode']}")
        trained = sum(row["trainable_parameters"] for row in self)
        all_parameters = sum(row["parameters"] for row in self)
        return "\n".join([*lines, f"{trained:,} of {all_parameters:,} parameters train"])


def trainable_table(model: keras.Model, *, layers: bool = False) -> TrainableTable:
    """Returns a row for every block, bottom to top, and one for the head: what trains, and how.

    Args:
        model: A functional or sequential model.
        layers: Whether to return a row for every layer with weights instead.

    Returns:
        Dicts with `path` (of the layer; of a block, its name), `parameters`, `trainable_parameters`, `trainable`
        (whether any of them trains) and `mode` (in words); of a block, also `layers`, how many have weights.

    Example:
        >>> stem, head = keras.layers.Dense(3, name="stem", trainable=False), keras.layers.Dense(2, name="head")
        >>> print(trainable_table(keras.Sequential([keras.Input((4,)), stem, head])))
        block    parameters  trains
        stem             15  no
        head              8  yes
        8 of 23 parameters train
    """
    leaves = paths.leaves(model)
    in_order = [path for path in freezing.list_layers(model) if leaves[path].weights]
    if layers:
        return TrainableTable(_layer_row(path, leaves[path]) for path in in_order)

    block_of = {path: block.name for block in marks.blocks(model) for path in block.layers}
    block_of |= dict.fromkeys(freezing.head(model), "head")
    rows = TrainableTable()
    for name, inside in itertools.groupby(in_order, lambda path: block_of.get(path, path)):
        rows.append(_block_row(name, [_layer_row(path, leaves[path]) for path in inside]))
    return rows


def _layer_row(path: str, layer: keras.layers.Layer) -> dict:
    mode = "yes" if layer.trainable_weights else "no"
    if freezing.is_batch_norm(layer) or getattr(layer, "has_modes", False):
        learns = layer.trainable and getattr(layer, "batch_norm", "train") == "train"
        mode += f" ({LEARNS if learns else STAYS})"
    trained = sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
    return {
        "path": path,
        "parameters": layer.count_params(),
        "trainable_parameters": trained,
        "trainable": bool(layer.trainable_weights),
        "mode": mode,
    }


def _block_row(name: str, rows: Sequence[dict]) -> dict:
    """Returns the sum of the rows of a block's layers; its batch normalisations are told apart from the rest."""
    norms = [row for row in rows if "(" in row["mode"]]
    others = [row for row in rows if row not in norms] or norms
    trained = sum(row["trainable"] for row in others)
    mode = {0: "no", len(others): "yes"}.get(trained, f"{trained} of {len(others)} layers")
    if norms:
        learning = sum(LEARNS in row["mode"] for row in norms)
        states = {0: STAYS, len(norms): LEARNS}
        mode += f" (batch norm: {states.get(learning, f'{LEARNS} in {learning} of {len(norms)}')})"
    return {
        "path": name,
        "layers": len(rows),
        "parameters": sum(row["parameters"] for row in rows),
        "trainable_parameters": sum(row["trainable_parameters"] for row in rows),
        "trainable": any(row["trainable"] for row in rows),
        "mode": mode,
    }
