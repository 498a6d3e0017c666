"""Learning rates by layer: lower for pretrained, general layers, higher for new ones.

`layer_rates` returns one optimizer (see `keras_transfer/optimizers/per_variable.py`), `multi_optimizer` one for each
group of layers.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import keras

from keras_transfer.core import checks, lookup
from keras_transfer.graphs import blocks, nodes, paths
from keras_transfer.layers import marks
from keras_transfer.optimizers import schedules
from keras_transfer.optimizers.per_variable import NAMES, Row, Scaled, rounded, scaled
from keras_transfer.training import freezing

__all__ = [
    "LogRates",
    "decayed",
    "layer_rates",
    "learning_rates",
    "multi_optimizer",
    "without_layers",
]

HEAD = "head"
REST = "*"  # the group of what no pattern names
SPARED = (
    keras.layers.BatchNormalization, keras.layers.GroupNormalization, keras.layers.LayerNormalization,
    keras.layers.RMSNormalization, keras.layers.PReLU,
)  # fmt: skip


def layer_rates(
    optimizer: str | keras.optimizers.Optimizer,
    model: keras.Model,
    *,
    rates: Mapping[str, float] | None = None,
    decay: float = 1.0,
    learning_rate: schedules.Rate | None = None,
    weight_decay: float | None = None,
    argument: str = "rates",
) -> keras.optimizers.Optimizer:
    """Returns a new optimizer that trains each layer at a rate of its own.

    With `decay`, the head trains at `learning_rate`, the topmost block of the trunk at `decay` times that, the next one
    at `decay` squared, and so on, as with timm's `param_groups_layer_decay`. Frozen blocks count, too, so thawing one
    changes no other's rate. Callbacks read and set `optimizer.learning_rate`, and all rates follow; the rates by group
    are in `optimizer.learning_rates`. It is made for the variables that train now: freeze and thaw first.

    Args:
        optimizer: A name; or a new optimizer, whose settings are taken over.
        model: A functional model.
        rates: Rates of single blocks, layers or variables by pattern, whatever `decay` says; "head" is what lies above
            the trunk. The first pattern that matches counts. Where the learning rate is a schedule, these rise and fall
            with it and are the highest.
        decay: From block to block, at most 1.
        learning_rate: A rate or a schedule; None leaves the optimizer's.
        weight_decay: Decoupled, of kernels only (see `decayed`), in proportion to each layer's rate. None leaves the
            optimizer's, which Keras applies to all variables that were not excluded.
        argument: What the user calls `rates`, for errors.

    Returns:
        An optimizer that is not built yet: of Keras's own class where all rates are equal and no weight decay is asked.

    Raises:
        InputError: If a name or pattern is unknown, or a number out of range.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(3))
        >>> layer_rates("adam", model, decay=0.5, learning_rate=0.16).learning_rates
        {'stem': 0.005, 'block1': 0.01, 'block2': 0.02, 'block3': 0.04, 'block4': 0.08, 'head': 0.16}
    """
    nodes.check_functional(model)
    if checks.number(decay, name="decay", above=0) > 1:
        raise checks.error("`decay` must be at most 1", given=decay)
    base = _make_optimizer(optimizer, learning_rate, weight_decay)
    if decay == 1.0 and not rates and not weight_decay:
        return base

    places = _find_places(model)
    rates = rates or {}
    patterns = _match(model, places, rates, argument=argument)
    factors, groups = _group(places, patterns, rates, decay, base)

    kernels = {id(variable) for variable in decayed(model)}
    rows = []
    for variable, group in zip(model.trainable_variables, groups, strict=True):
        is_chosen = weight_decay is None or id(variable) in kernels
        is_decayed = is_chosen and base._use_weight_decay(variable)
        rows.append(Row(variable.path, tuple(variable.shape), group, is_decayed))
    return scaled(base.__class__).from_config(
        {**base.get_config(), "factors": factors, "rows": rows}
    )


def decayed(model: keras.Model) -> list[keras.Variable]:
    """Returns the variables that train and should have weight decay: kernels.

    Biases, and scales and shifts of normalisations, are left out.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.LayerNormalization()])
        >>> [variable.name for variable in decayed(model)]
        ['kernel']
    """
    without = [layer for layer in paths.leaves(model).values() if isinstance(layer, SPARED)]
    spared = {id(variable) for layer in without for variable in layer.weights}
    return [
        variable
        for variable in model.trainable_variables
        # The biases of attention have a rank of 2.
        if len(variable.shape) >= 2 and id(variable) not in spared and "bias" not in variable.name
    ]


def multi_optimizer(
    optimizer: str | keras.optimizers.Optimizer,
    model: keras.Model,
    *,
    optimizers: Mapping[str, str | keras.optimizers.Optimizer],
) -> keras.optimizers.Optimizer:
    """Returns a `keras.optimizers.MultiOptimizer`: groups of layers with an optimizer each.

    For other rates only, use `layer_rates`: a `MultiOptimizer` has no `learning_rate` of its own, counts the steps
    of each group, and clips each by itself.

    Args:
        optimizer: For what no pattern names; a name or a new optimizer.
        model: A functional model; the optimizer is made for the variables that train now.
        optimizers: Names or new optimizers by pattern, as `rates` of `layer_rates`.

    Raises:
        InputError: If Keras is older than 3.15, or a name or pattern is unknown.

    Example:
        >>> dense = [keras.layers.Dense(2, name=name) for name in ("trunk", "top")]
        >>> model = keras.Sequential([keras.Input((4,)), *dense])
        >>> multi = multi_optimizer("adam", model, optimizers={"trunk": keras.optimizers.SGD(0.5, name="slow")})
        >>> learning_rates(multi)["slow"]
        0.5
    """
    nodes.check_functional(model)
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        raise checks.error(
            "Keras must be 3.15 or newer for several optimizers",
            given=keras.__version__,
            fix="Use `layer_rates`.",
        )
    patterns = _match(model, _find_places(model), optimizers, argument="optimizers")
    groups: dict[str | None, list[str]] = {}
    pattern_of: dict[str, str | None] = {}
    for pattern, variable in zip(patterns, model.trainable_variables, strict=True):
        if pattern_of.setdefault(variable.path, pattern) != pattern:
            raise checks.error(
                "variables of different optimizers must have different paths",
                given=f"{variable.path!r} twice",
            )
        groups.setdefault(pattern, []).append(variable.path)

    # One key for each optimizer: Keras would save one that has two keys twice.
    mapping = {}
    for pattern, chosen in optimizers.items():
        key = "|".join(map(re.escape, groups[pattern]))
        mapping[key] = _make_optimizer(chosen, None, None)
    default = _make_optimizer(optimizer, None, None)
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(default, mapping))


def learning_rates(optimizer: keras.optimizers.Optimizer) -> dict[str, float]:
    """Returns the present learning rate of each group of an optimizer; "*" is that of all others.

    Example:
        >>> learning_rates(keras.optimizers.SGD(0.5))
        {'*': 0.5}
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    if isinstance(optimizer, Scaled):
        return optimizer.learning_rates
    if hasattr(optimizer, "optimizers"):
        return {one.name: learning_rates(one)[REST] for one in optimizer.optimizers}
    return {REST: rounded(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))}


def without_layers(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer | None:
    """Returns a new Keras optimizer with the settings of one that has rates by layer; None for any other."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(inner, Scaled):
        return None
    config = {
        name: value for name, value in inner.get_config().items() if name not in ("factors", "rows")
    }
    return inner.plain.from_config(config)


class LogRates(keras.callbacks.Callback):
    """Adds the learning rate of each group to every epoch's logs, and so to the history.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="top")])
        >>> model.compile(layer_rates("sgd", model, rates={"top": 0.5}), "mse")
        >>> x = keras.ops.ones((4, 2))
        >>> model.fit(x, x[:, :1], callbacks=[LogRates()], verbose=0).history["learning_rate/top"]
        [0.5]
    """

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes the rates at the end of the epoch."""
        if logs is not None:
            rates = learning_rates(self.model.optimizer)
            logs.update({f"learning_rate/{name}": rate for name, rate in rates.items()})


class _Place(NamedTuple):
    """Where in the model a variable is."""

    path: str
    layer: str
    block: str
    depth: int  # 0 in the head, 1 in the block beneath it ...


def _find_places(model: keras.Model) -> list[_Place]:
    """Returns the places of the variables that train."""
    variable_paths = {id(variable): path for path, variable in paths.variables(model).items()}
    layer_paths = {
        id(variable): path
        for path, layer in paths.leaves(model).items()
        for variable in layer.weights
    }
    blocks_of_layers = _find_blocks(model)
    places = []
    for variable in model.trainable_variables:
        path = variable_paths.get(id(variable), variable.path)
        layer = layer_paths.get(id(variable), "")
        block, depth = blocks_of_layers.get(layer, (HEAD, 0))
        places.append(_Place(path, layer, block, depth))
    return places


def _find_blocks(model: keras.Model) -> dict[str, tuple[str, int]]:
    """Returns for each layer of the trunk the name of its block, and how many steps that is below the head."""
    leaves, heads = paths.leaves(model), set(freezing.head(model))
    blocks_of_layers: dict[str, tuple[str, int]] = {}
    names = {HEAD}
    for block in reversed(_blocks(model)):
        inside = [path for path in block.layers if path not in heads and leaves[path].weights]
        if inside:
            depth = len(names)
            name = f"{block.name} {depth}" if block.name in names else block.name
            names.add(name)
            blocks_of_layers.update((path, (name, depth)) for path in inside)
    return blocks_of_layers


def _blocks(model: keras.Model, prefix: str = "") -> list[blocks.Block]:
    """Returns the blocks of a model, bottom to top; a block that is a nested model is replaced by its own blocks."""
    flat_blocks = []
    for block in marks.blocks(model):
        names = dict.fromkeys(path.partition("/")[0] for path in block.layers)
        layers = [model.get_layer(name) for name in names]
        weighted = [layer for layer in layers if layer.weights]
        if len(weighted) == 1 and nodes.is_functional(weighted[0]):
            flat_blocks += _blocks(weighted[0], f"{prefix}{weighted[0].name}/")
        else:
            inside = tuple(prefix + path for path in block.layers)
            flat_blocks.append(blocks.Block(prefix + block.name, inside))
    return flat_blocks


def _match(
    model: keras.Model, places: list[_Place], patterns: Iterable[str], *, argument: str
) -> list[str | None]:
    """Returns for each variable that trains the first pattern that matches it."""
    inside = {block.name: block.layers for block in _blocks(model)}
    names = [*inside, *paths.leaves(model), *paths.variables(model)]
    matched: list[str | None] = [None] * len(places)
    for pattern in patterns:
        if pattern == HEAD:
            hits = set(freezing.head(model))
        else:
            hits = set(
                paths.match(names, pattern, argument=argument, what="a block, layer or variable")
            )
            hits.update(path for name in hits & set(inside) for path in inside[name])
        new = [
            at
            for at, place in enumerate(places)
            if matched[at] is None and {place.path, place.layer} & hits
        ]
        if not new:
            raise checks.error(
                f"each pattern of `{argument}` must match something that trains and that no earlier one matches",
                given=repr(pattern),
            )
        for at in new:
            matched[at] = pattern
    return matched


def _group(
    places: list[_Place],
    patterns: list[str | None],
    rates: Mapping[str, float],
    decay: float,
    optimizer: keras.optimizers.Optimizer,
) -> tuple[dict[str, float], list[str]]:
    """Returns the factor of each group, and the group of each variable."""
    highest = _highest_rate(optimizer) if rates else 1.0
    factors, groups = {}, []
    for place, pattern in zip(places, patterns, strict=True):
        if pattern is not None:
            rate = checks.number(rates[pattern], name=f"rates[{pattern!r}]", above=0)
            name, factor = pattern, rate / highest
        elif decay == 1.0:
            name, factor = REST, 1.0
        else:
            name, factor = place.block, decay**place.depth
        factors[name] = factor
        groups.append(name)
    return factors, groups


def _highest_rate(optimizer: keras.optimizers.Optimizer) -> float:
    rate = optimizer.get_config()["learning_rate"]
    if isinstance(rate, dict):
        rate = keras.saving.deserialize_keras_object(rate)
    return schedules.peak(rate)


def _make_optimizer(
    optimizer: str | keras.optimizers.Optimizer,
    learning_rate: schedules.Rate | None,
    weight_decay: float | None,
) -> keras.optimizers.Optimizer:
    """Returns a new optimizer of Keras's own class."""
    if isinstance(optimizer, keras.optimizers.Optimizer):
        for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
            if value is not None:
                raise checks.error(
                    f"`{name}` must be None where `optimizer` brings its own", given=value
                )
        single = not isinstance(optimizer, Scaled) and not hasattr(optimizer, "inner_optimizer")
        if optimizer.built or not single or hasattr(optimizer, "optimizers"):
            what = (
                "one that is built already" if optimizer.built else f"a {type(optimizer).__name__}"
            )
            raise checks.error("`optimizer` must be a new, single optimizer", given=what)
        return optimizer
    if not isinstance(optimizer, str):
        raise checks.error("`optimizer` must be a name or a Keras optimizer", given=repr(optimizer))
    known = {
        name.lower(): getattr(keras.optimizers, name)
        for name in NAMES
        if hasattr(keras.optimizers, name)
    }
    kind = lookup.find(optimizer.lower(), known, argument="optimizer")
    settings = {}
    if learning_rate is not None:
        is_schedule = isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule)
        settings["learning_rate"] = learning_rate if is_schedule else schedules.peak(learning_rate)
    if weight_decay is not None:
        decay = checks.number(weight_decay, name="weight_decay", minimum=0)
        none = 0.0 if issubclass(kind, keras.optimizers.AdamW) else None
        settings["weight_decay"] = decay or none
        if kind is getattr(keras.optimizers, "Muon", None):
            settings["adam_weight_decay"] = decay or None
    return kind(**settings)
