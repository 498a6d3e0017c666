"""`kt.fine_tune`: stages run one after the other, each with its own `fit`."""

import os
import time
from collections.abc import Sequence

import keras
import numpy as np

from keras_transfer import layers, losses
from keras_transfer.core import checks, compiling, files, graph, paths
from keras_transfer.training import freezing, inputs
from keras_transfer.training.best import Best
from keras_transfer.training.log import Log
from keras_transfer.training.record import Record, plain
from keras_transfer.training.stages import Stage, check_plan, two_stage

__all__ = ["fine_tune"]


def fine_tune(
    model: keras.Model,
    data: object,
    *,
    epochs: tuple[int, int] | None = None,
    unfreeze: str | None = None,
    learning_rate: tuple[float, float] | None = None,
    batch_norm: str | None = None,
    stages: Sequence[Stage] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    seed: int | None = None,
    run_dir: str | os.PathLike | None = None,
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Adapts a pretrained model in stages: by default the head first, then it and the upper trunk.

    Each stage is a `fit` of its own with a fresh optimizer, over one epoch counter. The trunk's batch
    normalisations run in inference mode. In the end the model has the weights of the best epoch: with
    the highest validation accuracy for a single classification (the lowest loss among equals), else the
    lowest validation loss; of the last epoch where there is no validation.

    Args:
        model: A compiled functional model, of `kt.build_model` or your own. Changed in place.
        data: From `kt.data`; or a `tf.data.Dataset`; or a pair (train, validation) of them.
        epochs: Of the two stages; by default chosen from the data's size.
        unfreeze: What trains in the second stage: a pattern ("block_13*": the first block or layer
            that matches, and everything above it) or "all"; by default the upper half of the blocks.
        learning_rate: Of the two stages; by default 1e-3 and 1e-4.
        batch_norm: "inference" (the default) or "train", for the trunk's batch normalisations once they
            are unfrozen.
        stages: A plan of your own, instead of the four arguments above.
        callbacks: Keras callbacks, passed to every stage.
        seed: For `keras.utils.set_random_seed`, and the data's orders start anew; None leaves both alone.
        run_dir: Folder for `run.json`, `log.csv` and `best.npz` (see `kt.training.load_best`); None
            writes nothing.
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
        "epochs": epochs,
        "unfreeze": unfreeze,
        "learning_rate": learning_rate,
        "batch_norm": batch_norm,
        "stages": stages,
        "seed": seed,
    }
    given = inputs.checked(model, inputs.inputs(data))
    plan, decided = _plan(model, given, asked)
    folder = None if run_dir is None else files.check_writable(run_dir, argument="run_dir")
    if seed is not None:
        keras.utils.set_random_seed(checks.integer(seed, name="seed", minimum=0, below=checks.SEEDS))
        if hasattr(data, "set_epoch"):
            data.set_epoch(0)
    record = Record(asked, folder=folder, quiet=verbose == 0)
    record.facts["notes"] += given.notes
    if verbose != 0:
        for remark in given.remarks:
            checks.note(remark)
    for note in decided:
        record.note(note)
    record.update(digest=given.digest, source=_source(model), examples=given.examples)
    loss = _settled_loss(model, given, record)
    best = Best(_monitor(model) if given.validation is not None else None, folder=folder)
    own = [best] if folder is None else [best, Log(folder)]
    try:
        history = _run(model, given, plan, loss, [*own, *callbacks], record, verbose)
    except BaseException:
        record.update(status="interrupted", best_epoch=best.epoch)
        raise
    best.restore()
    record.note(_outcome(best, history))
    record.update(status="finished", best_epoch=best.epoch, monitor=best.monitor, history=history.history)
    history.record = record.facts
    model.history = history
    return history


def _plan(model: keras.Model, given: inputs.Inputs, asked: dict) -> tuple[list[Stage], list[str]]:
    """Returns the stages, and what was decided for the user."""
    if asked["stages"] is None:
        names = ("epochs", "unfreeze", "learning_rate")
        plan, decided = two_stage(
            model,
            examples=given.examples,
            batch_norm=asked["batch_norm"] or "inference",
            **{name: asked[name] for name in names},
        )
        check_plan(model, plan, argument="unfreeze")
        return plan, decided
    for name in ("epochs", "unfreeze", "learning_rate", "batch_norm"):
        if asked[name] is not None:
            raise checks.error(f"`{name}` must be None where `stages` is given", given=repr(asked[name]))
    check_plan(model, asked["stages"])
    return list(asked["stages"]), []


def _settled_loss(model: keras.Model, given: inputs.Inputs, record: Record) -> object:
    """Settles what depends on the training targets; returns the losses to compile with, None to keep them.

    A loss that the user compiled with is kept.
    """
    found = layers.outputs(model)
    present = model.loss if isinstance(getattr(model, "loss", None), dict) else dict.fromkeys(found, model.loss)
    ours = {name for name in found if isinstance(present.get(name), (losses.Crossentropy, losses.ScaledHuber))}
    if not any(found[name].task.needs_targets() for name in ours):
        return None
    settled = layers.settled_losses(model, given.targets)
    for name, layer in found.items():
        if layer.task.has_unit and layer.unit_is_known():
            scale, offset = (np.round(keras.ops.convert_to_numpy(part), 4) for part in (layer.scale, layer.offset))
            record.note(f"{name}: answers are {offset.tolist()} plus {scale.tolist()} times what the head says")
    merged = {name: settled[name] if name in ours else present.get(name) for name in found}
    return merged if isinstance(model.output, dict) else merged[next(iter(merged))]


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
        facts["epochs"][1] = part.epoch[-1]  # less than planned where a user's callback stopped the stage
        first += stage.epochs
        merged.epoch += part.epoch
        for name, values in part.history.items():
            merged.history.setdefault(name, []).extend(values)
        record.facts["stages"].append(plain(facts))
        record.update(history=merged.history)
    return merged


def _facts(model: keras.Model, stage: Stage, trained: list[str], first: int) -> dict:
    leaves = paths.leaves(model)
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    return {
        "name": stage.title,
        "epochs": [first, first + stage.epochs - 1],
        "train": stage.train if isinstance(stage.train, str) else list(stage.train),
        "optimizer": stage.optimizer,
        "learning_rate": _rate(stage.learning_rate),
        "batch_norm": stage.batch_norm,
        "trainable_parameters": trainable,
        "frozen_parameters": model.count_params() - trainable,
        "trained_layers": trained,
        "frozen_layers": [path for path, layer in leaves.items() if layer.weights and path not in set(trained)],
    }


def _rate(rate: object) -> object:
    """The rate as a number, or what a schedule is made of."""
    if isinstance(rate, int | float):
        return rate
    overridden = type(rate).get_config is not keras.optimizers.schedules.LearningRateSchedule.get_config
    return {"schedule": type(rate).__name__, **rate.get_config()} if overridden else repr(rate)


def _headline(facts: dict, number: int, of: int) -> str:
    total = facts["trainable_parameters"] + facts["frozen_parameters"]
    epochs = facts["epochs"][1] - facts["epochs"][0] + 1
    return (
        f"stage {number} of {of} ({facts['name']}): {facts['trainable_parameters']:,} of {total:,} parameters train "
        f"for {epochs} epoch{'s' * (epochs > 1)}, {facts['optimizer']} at {_shown(facts['learning_rate'])}, "
        f"batch-norm {facts['batch_norm']}"
    )


def _shown(rate: object) -> str:
    return f"a {rate['schedule']} schedule" if isinstance(rate, dict) else str(rate)


def _source(model: keras.Model) -> dict | None:
    mark = layers.representation(model)
    return None if mark is None else dict(mark.source)


def _monitor(model: keras.Model) -> str:
    """What chooses the epoch: the accuracy of a single classification, else the loss.

    A fine-tuned network grows surer of its mistakes too, so its loss can rise while its answers get better.
    """
    kinds = [layer.task.kind for layer in layers.outputs(model).values()]
    return "val_accuracy" if kinds == ["classification"] else "val_loss"


def _outcome(best: Best, history: keras.callbacks.History) -> str:
    if best.monitor is None:
        return "no validation data: the model keeps the weights of the last epoch"
    if best.epoch is None:
        return "the validation loss was never a number: lower the learning rate; the model keeps its last weights"
    at = history.epoch.index(best.epoch)
    values = [f"{name} {values[at]:.4f}" for name, values in history.history.items() if name.startswith("val_")]
    return f"epoch {best.epoch + 1} is the best ({', '.join(values)}); its weights are in the model"
