"""Which layers train.

`trainable` is set on the innermost layers only, so the result does not depend on what was set before. A frozen batch
normalisation runs in inference mode: it uses its statistics and does not move them. `training=False` in a functional
graph would not do that, because `fit` overrides it. Dropout inside the trunk (EfficientNet has some) stays active
while training, frozen or not.
"""

import contextlib
from collections.abc import Iterable, Iterator

import keras

from keras_transfer import layers
from keras_transfer.core import checks
from keras_transfer.graphs import boundaries, nodes, paths
from keras_transfer.layers import marks

__all__ = [
    "BATCH_NORM", "NORMS_AND_BIASES", "as_before", "freeze", "head", "is_batch_norm", "keep_kernels", "list_layers",
    "pick", "pick_only", "set_trainable", "thawable", "unfreeze",
]  # fmt: skip

TRAINING = ("train", "synchronized")  # of these, those in which batch normalisations learn
BATCH_NORM = ("inference", "train", "synchronized", "recalibrate")
NORMS_AND_BIASES = "norms_and_biases"


def list_layers(model: keras.Model) -> list[str]:
    """Returns the paths of all innermost layers, bottom to top: the trunk block by block, then the heads."""
    leaves = paths.leaves(model)
    nodes.check_functional(model)
    trunk = [path for block in marks.blocks(model) for path in block.layers]
    known = set(trunk)
    return trunk + [path for path in leaves if path not in known]


def head(model: keras.Model) -> list[str]:
    """Returns the paths of the layers above the trunk.

    The trunk ends at the marks of its representation (one for each branch); in a model without marks, where
    `graphs.boundaries.trunk_end` says. Layers that mix the trunks of several tasks belong to the head, too.
    """
    trunk = set().union(*_trunks(model))
    return [path for path in paths.leaves(model) if path.partition("/")[0] not in trunk]


def _trunks(model: keras.Model) -> list[set[str]]:
    """Returns the names of the operations below each mark; trunks may share their lower part."""
    order = nodes.lanes(nodes.nodes(model))
    ends = [[mark.output] for mark in marks.representations(model)] or [boundaries.trunk_end(order)]
    trunks = []
    for end in ends:
        operations = [order[position].operation for position in nodes.ancestors(order, end)]
        trunks.append({each.name for each in operations if not nodes.mixes_lanes(each)})
    return trunks


def _other_branches(model: keras.Model, layers_in_use: Iterable[str]) -> set[str]:
    """Returns the names of the operations in trunks that hold none of these layers."""
    names = {path.partition("/")[0] for path in layers_in_use}
    trunks = _trunks(model)
    used = set().union(*(trunk for trunk in trunks if trunk & names))
    return set().union(*trunks) - used if used else set()


def thawable(model: keras.Model, *, until: str | Iterable[str] | None = None) -> list[str]:
    """Returns the names of the trunk's blocks with more weights than normalisation's, bottom to top.

    Args:
        model: A functional model.
        until: The lowest block to return: the first one that matches.
    """
    leaves = paths.leaves(model)
    heads = set(head(model))
    names = []
    for block in marks.blocks(model):
        trunk = [leaves[path] for path in block.layers if path not in heads]
        if any(layer.weights and not is_batch_norm(layer) for layer in trunk):
            names.append(block.name)
    if until is None:
        return names
    lowest = paths.match(names, until, argument="until", what="a block")[0]
    return names[names.index(lowest) :]


def pick_only(
    model: keras.Model, only: str | Iterable[str], *, argument: str = "only"
) -> list[str]:
    """Returns the paths of the layers that `only` names, bottom to top, and of no others.

    Args:
        model: A functional model.
        only: Patterns of blocks and layers, "head" among them; or "norms_and_biases" for everything, after which
            `keep_kernels` freezes the kernels.
        argument: The name of the user's argument, for the error.
    """
    everything = list_layers(model)
    if only == NORMS_AND_BIASES:
        return everything
    inside = {block.name: block.layers for block in marks.blocks(model)}
    chosen = set()
    for pattern in [only] if isinstance(only, str) else only:
        if pattern == "head":
            chosen |= set(head(model))
            continue
        for hit in paths.match(
            [*inside, *everything], pattern, argument=argument, what="a block or layer"
        ):
            chosen |= set(inside.get(hit, (hit,)))
    return [path for path in everything if path in chosen]


def keep_kernels(model: keras.Model) -> None:
    """Freezes the trunk's kernels within layers that train; biases and normalisations go on training.

    Setting a layer's `trainable` again undoes it.
    """
    heads = set(head(model))
    for path, layer in paths.leaves(model).items():
        if path not in heads and layer.trainable:
            for variable in layer.trainable_variables:
                variable.trainable = len(variable.shape) < 2


def pick(
    model: keras.Model, train: str | int | Iterable[str], *, argument: str = "train"
) -> list[str]:
    """Returns the paths of the layers that `train` means, bottom to top.

    Args:
        model: A functional model.
        train: "all", "head", or a pattern (or several): the first block or layer that matches and
            everything above it. A block's name means the whole block, with the copies that branches have of
            it; a pattern that fits layers of some branches only leaves the other branches out. A number: the
            head and that many of the uppermost blocks with weights.
        argument: The name of the user's argument, for the error.

    Raises:
        InputError: If a pattern matches nothing.
    """
    everything = list_layers(model)
    if train == "all":
        return everything
    if train == "head":
        return head(model)
    if isinstance(train, int):
        names = thawable(model)
        if train > len(names):
            raise checks.error(
                f"`{argument}` must be at most the number of blocks, {len(names)}", given=train
            )
        train = names[-train]
    inside = {block.name: block.layers for block in marks.blocks(model)}
    names = [*inside, *everything]
    hits = paths.match(names, train, argument=argument, what="a block or layer")
    if not hits:
        raise checks.error(f"`{argument}` must be 'all', 'head' or a pattern", given=repr(train))
    first = min(
        everything.index(inside[hit][0] if hit in inside else hit)
        for hit in hits
        if hit not in inside or inside[hit]
    )
    matched = [path for hit in hits for path in inside.get(hit, (hit,))]
    skipped = _other_branches(model, matched)
    return [path for path in everything[first:] if path.partition("/")[0] not in skipped]


def set_trainable(
    model: keras.Model, chosen: Iterable[str], *, batch_norm: str | None = "inference"
) -> list[str]:
    """Makes exactly the layers at the paths `chosen` train, and returns the paths of those that do.

    The batch normalisations inside a SavedModel are no layers of their own: "inference" keeps their
    statistics, but their scales and shifts train with the module's other weights.

    Args:
        model: Changed in place; must be compiled afterwards.
        chosen: Paths of innermost layers.
        batch_norm: "inference" and "recalibrate" keep the batch normalisations of the trunk as they are while
            training; "train" trains them like any layer, "synchronized" on the statistics of the whole batch where
            replicas share it, as the head's always are; None treats them like any layer, too, and leaves the
            mode of SavedModels as it is.
    """
    if batch_norm is not None:
        checks.choice(batch_norm, BATCH_NORM, name="batch_norm")
    chosen = set(chosen)
    heads = set() if batch_norm is None else set(head(model))
    if batch_norm in ("inference", "recalibrate"):
        leaves = paths.leaves(model)
        chosen -= {path for path in chosen if is_batch_norm(leaves[path]) and path not in heads}
    # Both values: on the TensorFlow backend `trainable = True` does nothing where it is True already.
    model.trainable = False
    model.trainable = True
    for path, layer in paths.leaves(model).items():
        layer.trainable = path in chosen
        if isinstance(layer, layers.SavedModelLayer) and batch_norm is not None:
            layer.batch_norm = "train" if batch_norm in TRAINING else "inference"
        if batch_norm is not None and is_batch_norm(layer):
            layer.by_replica = batch_norm == "train" and path not in heads
    return [path for path, layer in paths.leaves(model).items() if layer.trainable_weights]


def is_batch_norm(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer is a batch normalisation."""
    return isinstance(layer, keras.layers.BatchNormalization)


def freeze(model: keras.Model, *, below: str) -> list[str]:
    """Freezes every layer of `model` beneath the first one that matches `below`.

    Frozen layers keep their weights, and frozen batch normalisations run in inference
    mode. `model` is changed in place and must be compiled afterwards.

    Args:
        model: A functional or sequential model; layers may be nested.
        below: Path pattern of the lowest block or layer that stays as it is.

    Returns:
        Paths of the frozen layers, bottom to top.

    Raises:
        InputError: If no layer matches `below`.

    Example:
        >>> stem = keras.layers.Dense(3, name="stem")
        >>> head = keras.layers.Dense(2, name="head")
        >>> freeze(keras.Sequential([keras.Input((4,)), stem, head]), below="head")
        ['stem']
    """
    above = set(pick(model, below, argument="below"))
    leaves = paths.leaves(model)
    frozen = [path for path in list_layers(model) if path not in above]
    set_trainable(model, [path for path in above if leaves[path].trainable], batch_norm=None)
    return [path for path in frozen if leaves[path].weights]


def unfreeze(model: keras.Model, *, above: str = "all", batch_norm: str = "inference") -> list[str]:
    """Makes the first layer that matches `above`, and everything over it, train; the rest stays as it is.

    Args:
        model: Changed in place; must be compiled afterwards.
        above: "all", "head", or a path pattern of the lowest block or layer that is to train.
        batch_norm: "inference" leaves the trunk's batch normalisations frozen, "train" thaws them.

    Returns:
        Paths of all layers that train now, bottom to top.

    Raises:
        InputError: If no layer matches `above`.

    Example:
        >>> stem = keras.layers.Dense(3, name="stem", trainable=False)
        >>> head = keras.layers.Dense(2, name="head")
        >>> unfreeze(keras.Sequential([keras.Input((4,)), stem, head]))
        ['stem', 'head']
    """
    chosen = set(pick(model, above, argument="above"))
    chosen |= {path for path, layer in paths.leaves(model).items() if layer.trainable}
    trained = set(set_trainable(model, chosen, batch_norm=batch_norm))
    return [path for path in list_layers(model) if path in trained]


@contextlib.contextmanager
def as_before(model: keras.Model) -> Iterator[None]:
    """Restores what trains in `model`, and how, at the end of the block."""
    everything = [model, *model._flatten_layers(include_self=False)]
    flags = [(layer, layer.trainable, getattr(layer, "batch_norm", None)) for layer in everything]
    variables = [(variable, variable.trainable) for variable in model.variables]
    try:
        yield
    finally:
        # Outer layers first, because they set the inner ones; both values, because `True` after `True` does nothing.
        for layer, trainable, mode in flags:
            layer.trainable = not trainable
            layer.trainable = trainable
            if mode is not None:
                layer.batch_norm = mode
        for variable, trainable in variables:
            variable.trainable = trainable
