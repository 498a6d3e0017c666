"""`kt.build_model`: backbone + task(s) -> a compiled functional Keras model."""

import contextlib
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_transfer import backbones, layers, tasks
from keras_transfer import balancing as balancers
from keras_transfer.core import checks, lookup
from keras_transfer.graphs import nodes, paths, precision
from keras_transfer.layers import marks
from keras_transfer.machine import engine
from keras_transfer.models import adversarial, joint, task_model
from keras_transfer.models import sharing as schemes

__all__ = ["build_model", "compile"]


def build_model(
    backbone: keras.Model | str | os.PathLike,
    task: tasks.Task | Mapping[str, tasks.Task],
    *,
    sharing: str | schemes.Sharing | Mapping[str, str] | None = None,
    balancing: str | Mapping[str, float] | balancers.Balancer | None = None,
    balance_on: str = "representation",
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Puts one or several heads on a backbone.

    The model is flat (the backbone's layers are its own layers) and shares them with `backbone`:
    training it trains the backbone. It comes compiled with the tasks' losses and metrics.

    Args:
        backbone: From `kt.backbone`, or any functional Keras model that ends in features; or what `kt.backbone` takes
            by name, such as "kerashub:NAME". The feature pyramid or the decoder of KerasHub's detectors, segmenters
            and depth estimators stays, below a new head.
        task: A task; or tasks by name, whose names become the names of outputs and targets.
        sharing: How several tasks share the trunk: "hard" (the default: all of it), a dict of task and pattern
            (`{"age": "block_13*"}`: from there on the task has a copy for itself), "cross_stitch", "experts",
            "attention", or a scheme of `kt.models` with arguments of its own.
        balancing: How the losses of several tasks are balanced: a name of `kt.balancing.BALANCERS` ("uncertainty",
            "pcgrad", ...), fixed weights by name (1 where a name is absent), or a balancer. None sums them.
        balance_on: Which gradients a balancer of gradients sees: those of the "representation", which costs little;
            or those of all the "weights" that tasks share, which takes a backward pass and a copy of these for each.
        seed: Of the head's first weights and of all dropout. With it, and the same seed for `kt.fine_tune`, every
            process trains the same model. None draws them as Keras does.
        name: The model's name.

    Returns:
        A compiled functional model. Its output is a tensor for one task, a dict for several.

    Raises:
        InputError: If the parts do not fit.

    Example:
        >>> import keras_transfer as kt
        >>> model = build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(["cat", "dog"], hidden=[16]))
        >>> import numpy as np
        >>> model.predict(np.zeros((1, 32, 32, 3), "uint8"), verbose=0).shape
        (1, 2)
    """
    if isinstance(backbone, str | os.PathLike):
        backbone = backbones.backbone(backbone)
    nodes.check_functional(backbone, argument="backbone")
    if len(backbone.inputs) != 1 or len(backbone.outputs) != 1:
        given = f"{len(backbone.inputs)} inputs, {len(backbone.outputs)} outputs"
        raise checks.error("`backbone` must have one input and one output", given=given)
    checks.choice(balance_on, layers.Balance.PLACES, name="balance_on")
    if seed is not None:
        checks.integer(seed, name="seed", minimum=0, below=checks.SEEDS)
    task_by_name = _check_tasks(task, {layer.name for layer in backbone.layers})
    ends = marks.named_levels(backbone)
    if ends is not None:
        task_by_name = {key: one.on_level_ends(ends) for key, one in task_by_name.items()}
    _check_own_ends(task_by_name, ends)
    scheme = schemes.find(sharing)
    if sharing is not None and len(task_by_name) < 2:
        raise checks.error("`sharing` must be left out for a single task", given=repr(sharing))
    if balancing is not None and not isinstance(task, Mapping):
        raise checks.error("`balancing` must be left out for a single task", given=repr(balancing))

    # Fixed weights are compiled, as Keras's own. But Keras's own sum counts a batch or replica without a label as a
    # loss of 0, so several tasks always get a joint model.
    fixed = balancing if isinstance(balancing, Mapping) else None
    is_fixed = balancing is None or fixed is not None
    is_joint = not is_fixed or len(task_by_name) > 1
    with _drawn_from(seed), precision.made_in(precision.of_network(backbone)):
        if seed is not None:
            _reseed_dropout(backbone)
        starts = scheme.features(schemes.mark_end(backbone), task_by_name).starts
        if is_joint:
            starts = joint.insert_balance(starts, None if is_fixed else balancing, on=balance_on)
        heads = {}
        for key, one in task_by_name.items():
            heads[key] = _put_head(one, starts[key], name=key, image=backbone.inputs[0])
    outputs = heads if isinstance(task, Mapping) else heads[next(iter(heads))]
    is_adversarial = any(one.adversary() is not None for one in task_by_name.values())
    if is_adversarial:
        engine.require_tensorflow("an adversarial loss")
    if is_adversarial and balance_on == "weights":
        raise checks.error(
            "`balance_on` must be 'representation' beside an adversarial loss",
            given=repr(balance_on),
        )
    make = _class_of_model(is_joint, is_adversarial)
    try:
        with precision.made_in(precision.of_network(backbone)):  # so that Keras scales the loss
            model = make(backbone.inputs[0], outputs, name=name or backbone.name)
    except ValueError as clash:
        if "should be unique" not in str(clash):
            raise
        given = str(clash).partition(" in the model")[0]
        fix = "Choose another name for the task, or for the backbone's layer."
        raise checks.error("layers must have different names", given=given, fix=fix) from clash
    if is_joint:
        joint.note_memory(model)
    compile(model, balancing=fixed)
    return model


def _class_of_model(is_joint: bool, is_adversarial: bool) -> type[keras.Model]:
    if is_adversarial:
        return adversarial.AdversarialJointModel if is_joint else adversarial.AdversarialModel
    return joint.JointModel if is_joint else task_model.TaskModel


def _check_own_ends(task_by_name: Mapping[str, tasks.Task], ends: layers.LevelEnds | None) -> None:
    """Raises an error for a task that counts on a pyramid or decoder which the backbone does not have."""
    for name, task in task_by_name.items():
        for argument in ("decoder", "pyramid"):
            if ends is None and getattr(task, argument, None) == "own":
                raise checks.error(
                    f"`{argument}` must be another for a backbone that brings none",
                    given=f"'own' for task {name!r}",
                )


def _put_head(
    task: tasks.Task, start: Any, *, name: str, image: keras.KerasTensor
) -> keras.KerasTensor:
    """Puts a head on a tensor, or on the maps of several levels."""
    if not task.levels:
        return task.head(start, name=name)
    image_size = tuple(image.shape[1:3])
    if None in image_size:
        raise checks.error(
            f"a {task.kind} needs a backbone with one image size",
            given=f"images of shape {tuple(image.shape[1:])}",
            fix="Give `image_size` to kt.backbone.",
        )
    _note_padding(image_size, list(start))
    return task.head(start, name=name, image_size=image_size)


def _note_padding(image_size: tuple[int, ...], levels: Sequence[str]) -> None:
    """Says so where the images do not fill the coarsest map."""
    stride = 2 ** max(int(level[1:]) for level in levels)
    padded = [-(-side // stride) * stride for side in image_size]
    if padded != list(image_size):
        checks.note(
            f"images of {image_size[0]} x {image_size[1]} are no multiple of the coarsest stride, {stride}: "
            f"they are padded inside the network, to {padded[0]} x {padded[1]}; answers are of the image itself"
        )


@contextlib.contextmanager
def _drawn_from(seed: int | None) -> Iterator[None]:
    """Draws first weights from a seed: Keras asks Python's generator for those of its initializers and dropout."""
    if seed is None:
        yield
        return
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _reseed_dropout(backbone: keras.Model) -> None:
    """Gives the random layers of a trunk, which were made before, new seeds."""
    for layer in paths.leaves(backbone).values():
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign((random.randint(1, 10**9), 0))


def compile(
    model: keras.Model,
    *,
    optimizer: str | keras.optimizers.Optimizer | None = None,
    balancing: Mapping[str, float] | None = None,
    data: Any = None,
    steps_per_execution: int = 1,
    jit_compile: bool | str | None = None,
) -> None:
    """Compiles a model of `build_model` with its tasks' losses and metrics.

    Args:
        model: A model with task outputs, also one that was loaded. Changed in place.
        optimizer: Keras optimizer or its name; Adam with rate 1e-3 by default.
        balancing: Weights of the tasks' losses by name, 1 where a name is absent; on top of what the model was built
            with.
        data: From `kt.data`; settles what comes from the training targets (balanced class weights,
            the unit of a regression). `kt.fine_tune` does the same by itself.
        steps_per_execution: As in Keras.
        jit_compile: As in Keras; by default off on CPUs, Keras's choice elsewhere.

    Raises:
        InputError: If `model` has no task outputs, or `balancing` does not fit them.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))
        >>> compile(model, optimizer="sgd")
        >>> type(model.optimizer).__name__
        'SGD'
    """
    outputs = marks.outputs(model)
    if not outputs:
        raise checks.error(
            "`model` must have task outputs",
            given=repr(model.name),
            fix="Use kt.build_model, or model.compile.",
        )
    if data is None:
        losses = {name: layer.task.loss() for name, layer in outputs.items()}
    else:
        weights = getattr(data, "weights", None)
        losses = marks.settled_losses(model, data.targets["train"], weights and weights["train"])
    metrics = {name: layer.task.metrics() for name, layer in outputs.items()}
    if isinstance(model.output, Mapping):
        loss_weights = _loss_weights(balancing, list(outputs))
    else:
        only = next(iter(outputs))
        losses, metrics = losses[only], metrics[only]
        loss_weights = _loss_weights(balancing, [])
    if jit_compile is None:
        jit_compile = engine.jit_compile()
    model.compile(
        optimizer=optimizer or keras.optimizers.Adam(1e-3),
        loss=losses,
        weighted_metrics=metrics,  # missing labels have weight 0
        loss_weights=loss_weights,
        steps_per_execution=steps_per_execution,
        jit_compile=jit_compile,
    )


def _check_tasks(task: object, taken: set[str]) -> dict[str, tasks.Task]:
    """Returns the tasks by name; names must not be in `taken`."""
    if not isinstance(task, Mapping):
        task = {getattr(task, "kind", "task"): task}
    if not task:
        raise checks.error(
            "`task` must be a task or a dict of tasks by name", given="an empty dict"
        )
    for name, one in task.items():
        tasks.require(one)
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise checks.error(
                "a task's name must be of letters, digits, '_', '-' and '.'", given=repr(name)
            )
        if name in taken or name in ("about", "balance"):
            raise checks.error(
                "a task's name must be free", given=f"{name!r}, which the model or its report uses"
            )
    return dict(task)


def _loss_weights(
    balancing: Mapping[str, float] | None, names: Sequence[str]
) -> dict[str, float] | None:
    if balancing is None:
        return None
    if not isinstance(balancing, Mapping):
        raise checks.error(
            "`balancing` must be a dict of weights by task name", given=repr(balancing)
        )
    for name, weight in balancing.items():
        lookup.find(name, dict.fromkeys(names), argument="balancing")
        checks.number(weight, name="balancing", minimum=0)
    return {name: float(balancing.get(name, 1.0)) for name in names}
