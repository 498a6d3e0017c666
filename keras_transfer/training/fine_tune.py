"""`kt.fine_tune`: stages run one after the other, each with its own `fit`."""

import os
import time
from collections.abc import Sequence

import keras
import numpy as np

from keras_transfer import layers
from keras_transfer.core import checks, compiling, files, graph, paths
from keras_transfer.training import freezing, inputs
from keras_transfer.training.best import Best
from keras_transfer.training.record import Record
from keras_transfer.training.stages import Stage, check_plan, two_stage

__all__ = ["fine_tune"]


def fine_tune(
    model: keras.Model,
    data: object,
    *,
    epochs: tuple[int, int] | None = None,
    unfreeze: str | None = None,
    learning_rate: tuple[float, float] | None = None,
    batch_norm: str = "inference",
    stages: Sequence[Stage] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    seed: int | None = None,
    run_dir: str | os.PathLike | None = None,
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Adapts a pretrained model in stages: by default the head first, then it and the upper trunk.

    Each stage is a `fit` of its own with a fresh optimizer, over one epoch counter. Frozen layers,
    and the trunk's batch normalisations, run in inference mode. In the end the model has the weights
    of the epoch with the lowest validation loss (of the last epoch where there is no validation).

    Args:
        model: A compiled functional model, of `kt.build_model` or your own. Changed in place.
        data: From `kt.data`; or a `tf.data.Dataset`; or a pair (train, validation) of them.
        epochs: Of the two stages; by default chosen from the data's size.
        unfreeze: What trains in the second stage: a pattern ("block_13*": the first block or layer
            that matches, and everything above it) or "all"; by default the upper half of the blocks.
        learning_rate: Of the two stages; by default 1e-3 and 1e-4.
        batch_norm: "inference" or "train", for the trunk's batch normalisations once they are unfrozen.
        stages: A plan of your own, instead of the four arguments above.
        callbacks: Keras callbacks, passed to every stage.
        seed: For `keras.utils.set_random_seed`; None leaves the random state alone.
        run_dir: Folder for `run.json`, the log and the best weights; None writes nothing.
        verbose: As in `fit`; 0 also silences the notes.

    Returns:
        One Keras `History` over all stages; `history.record` is the run record.

    Raises:
        InputError: If something cannot work; always before training starts.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.scenes(n=40, image_size=32, validation=0.2)
        >>> model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(data.class_names))
        >>> history = fine_tune(model, data, epochs=(1, 1), verbose=0)
        >>> len(history.history["val_accuracy"])
        2
    """
    graph.check_functional(model)
    asked = {
        "epochs": epochs, "unfreeze": unfreeze, "learning_rate": learning_rate, "batch_norm": batch_norm,
        "stages": stages, "seed": seed,
    }  # fmt: skip
    given = inputs.inputs(data)
    inputs.check(model, given)
    plan, decided = _plan(model, given, asked)
    folder = None if run_dir is None else files.check_writable(run_dir, argument="run_dir")
    if seed is not None:
        keras.utils.set_random_seed(checks.integer(seed, name="seed", minimum=0))
    record = Record(asked, folder=folder, quiet=verbose == 0)
    for note in (*given.notes, *decided):
        record.facts["notes"].append(note) if note in given.notes else record.note(note)
    record.update(seed=seed, digest=given.digest, source=_source(model), examples=given.examples)
    loss = _settled_loss(model, given, record)
    best = Best("val_loss" if given.validation is not None else "none", folder=folder)
    history = _run(model, given, plan, loss, [best, *_log(folder), *callbacks], record, verbose)
    best.restore()
    record.note(_outcome(best, history, given.validation is not None))
    record.update(status="finished", best_epoch=best.epoch, monitor=best.monitor, history=history.history)
    history.record = record.facts
    model.history = history
    return history


def _plan(model: keras.Model, given: inputs.Inputs, asked: dict) -> tuple[list[Stage], list[str]]:
    """Returns the stages, and what was decided for the user."""
    if asked["stages"] is None:
        names = ("epochs", "unfreeze", "learning_rate", "batch_norm")
        plan, decided = two_stage(model, examples=given.examples, **{name: asked[name] for name in names})
    else:
        for name in ("epochs", "unfreeze", "learning_rate"):
            if asked[name] is not None:
                raise checks.error(f"`{name}` must be None where `stages` is given", given=repr(asked[name]))
        plan, decided = list(asked["stages"]), []
    check_plan(model, plan)
    return plan, decided


def _settled_loss(model: keras.Model, given: inputs.Inputs, record: Record) -> object:
    """Settles what depends on the training targets; returns the losses to compile with, None to keep them."""
    found = layers.outputs(model)
    if not any(layer.task.needs_targets() for layer in found.values()):
        return None
    targets = inputs.all_targets(given)
    several = isinstance(model.output, dict)
    losses = {}
    for name, layer in found.items():
        mine = targets[name] if several else targets
        if layer.task.has_unit and not layer.unit_is_known():
            record.note(f"{name}: the unit is taken from the training targets (mean {np.mean(mine):.4g})")
        layer.take_unit(mine)
        losses[name] = layer.task.loss(mine)
    return losses if several else losses[next(iter(losses))]


def _run(
    model: keras.Model,
    given: inputs.Inputs,
    plan: Sequence[Stage],
    loss: object,
    callbacks: list[keras.callbacks.Callback],
    record: Record,
    verbose: str | int,
) -> keras.callbacks.History:
    """Runs the stages and merges their histories."""
    merged = keras.callbacks.History()
    merged.set_model(model)
    merged.epoch, merged.history = [], {}
    first = 0
    for number, stage in enumerate(plan, 1):
        trained = freezing.set_trainable(model, freezing.pick(model, stage.train), batch_norm=stage.batch_norm)
        compiling.recompile(model, stage.new_optimizer(), loss=loss)
        facts = _facts(model, stage, trained, first)
        record.note(_headline(facts, number, len(plan)))
        started = time.perf_counter()
        part = model.fit(
            given.train,
            validation_data=given.validation,
            initial_epoch=first,
            epochs=first + stage.epochs,
            callbacks=callbacks,
            shuffle=False,  # data sets shuffle themselves
            verbose=verbose,
        )
        facts["seconds"] = round(time.perf_counter() - started, 3)
        first += stage.epochs
        merged.epoch += part.epoch
        for name, values in part.history.items():
            merged.history.setdefault(name, []).extend(values)
        record.facts["stages"].append(facts)
        record.update(history=merged.history)
        if part.epoch[-1:] != [first - 1]:  # a user's callback stopped the stage early
            facts["epochs"][1] = part.epoch[-1]
    return merged


def _facts(model: keras.Model, stage: Stage, trained: list[str], first: int) -> dict:
    leaves = paths.leaves(model)
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    rate = stage.learning_rate
    return {
        "name": stage.title,
        "epochs": [first, first + stage.epochs - 1],
        "train": stage.train if isinstance(stage.train, str) else list(stage.train),
        "optimizer": stage.optimizer,
        "learning_rate": rate if isinstance(rate, int | float) else rate.get_config(),
        "batch_norm": stage.batch_norm,
        "trainable_parameters": trainable,
        "frozen_parameters": model.count_params() - trainable,
        "trained_layers": trained,
        "frozen_layers": [path for path, layer in leaves.items() if layer.weights and path not in set(trained)],
    }


def _headline(facts: dict, number: int, of: int) -> str:
    total = facts["trainable_parameters"] + facts["frozen_parameters"]
    epochs = facts["epochs"][1] - facts["epochs"][0] + 1
    return (
        f"stage {number} of {of} ({facts['name']}): {facts['trainable_parameters']:,} of {total:,} parameters train "
        f"for {epochs} epoch{'s' * (epochs > 1)}, {facts['optimizer']} at {facts['learning_rate']}, "
        f"batch-norm {facts['batch_norm']}"
    )


def _log(folder: os.PathLike | None) -> list[keras.callbacks.Callback]:
    """A line an epoch in `log.csv`, so that a killed run still tells how it went."""
    if folder is None:
        return []
    (folder / "log.csv").unlink(missing_ok=True)
    return [keras.callbacks.CSVLogger(folder / "log.csv", append=True)]


def _source(model: keras.Model) -> dict | None:
    mark = layers.representation(model)
    return None if mark is None else dict(mark.source)


def _outcome(best: Best, history: keras.callbacks.History, validated: bool) -> str:
    if not validated:
        return "no validation data: the model keeps the weights of the last epoch"
    values = [
        f"{name} {history.history[name][history.epoch.index(best.epoch)]:.4f}"
        for name in history.history
        if name.startswith("val_")
    ]
    return f"epoch {best.epoch + 1} is the best ({', '.join(values)}); its weights are in the model"
