"""`kt.fine_tune`: stages run one after the other, each with its own `fit`."""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from keras_transfer import losses
from keras_transfer.core import checks
from keras_transfer.graphs import compiling, nodes, paths
from keras_transfer.layers import marks
from keras_transfer.machine import kernels
from keras_transfer.storage import files
from keras_transfer.training import augmenting, inputs, plans, refitting
from keras_transfer.training.cache.policy import Cache, Keeper
from keras_transfer.training.checking import check_plan
from keras_transfer.training.run import criteria, facts, insight, state
from keras_transfer.training.run.best import FILE as BEST
from keras_transfer.training.run.best import Best
from keras_transfer.training.run.engine import Run
from keras_transfer.training.run.log import Log
from keras_transfer.training.run.record import Record, plain
from keras_transfer.training.stages import Stage

__all__ = ["fine_tune"]


def fine_tune(
    model: keras.Model,
    data: object,
    *,
    plan: str = "two_stage",
    epochs: int | tuple[int, int] | None = None,
    unfreeze: str | Sequence[str] | None = None,
    learning_rate: float | str | tuple[float, float] | None = None,
    batch_norm: str | None = None,
    stages: Sequence[Stage] | None = None,
    augment: object = "auto",
    cache: str | Cache = "auto",
    views: int = 1,
    refit: bool | None = None,
    watch: str | Sequence[str] = ("distance",),
    callbacks: Sequence[keras.callbacks.Callback] = (),
    seed: int | None = None,
    run_dir: str | os.PathLike | None = None,
    resume: bool = False,
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Adapts a pretrained model in stages: by default the head first, then everything at a low rate.

    Each stage is a `fit` of its own with a fresh optimizer, over one epoch counter. The trunk's batch
    normalisations run in inference mode. In the end the model has the weights of the best epoch: with
    the highest validation accuracy for a single classification (the lowest loss among equals), for several tasks the
    lowest geometric mean of their errors (`val_error` in the logs: wrong answers, or a loss), else the lowest
    validation loss; of the last epoch where there is no validation. Everything that is chosen here
    is printed and recorded, and gives way to an argument.

    Args:
        model: A compiled functional model, of `kt.build_model` or your own. Changed in place.
        data: From `kt.data`; or a `tf.data.Dataset`; or a pair (train, validation) of them.
        plan: "two_stage"; "gradual" (one block more at a time), "lp_ft" (the head solved for, then
            everything), "surgical" (the head, then chosen blocks only), "full", "head_only", "lora"
            (low-rank updates, merged at the end) or "norms_and_biases".
        epochs: Of the two stages, or of the one; by default chosen from the data's size. A linear head is then
            solved for, which counts as one epoch, unless `learning_rate` is a pair or examples have weights other
            than 0 (a missing label) and 1.
        unfreeze: What trains in the second stage: a pattern ("block_13*": the first block or layer
            that matches, and everything above it) or "all", the default.
            For "surgical": the blocks that train.
        learning_rate: Of the two stages, or of the one; "auto" searches for it.
        batch_norm: "inference" (the default), "train" or "recalibrate", see `kt.Stage`.
        stages: A plan of your own, instead of the arguments from `plan` on.
        augment: Random changes to the training images: a `kt.data.Augment`, "light", "strong", or None. "auto" flips,
            crops and recolours a little, and smooths labels, where `epochs` and `stages` are left open and colour
            pictures are classified.
        cache: What frozen layers give is the same in every epoch, so it is computed once and kept: "memory", "disk"
            (for later runs, too), "auto" (memory while there is enough), "off"; or a `kt.training.Cache`. The result is
            the same; where it would not be, a line says why nothing is kept.
        views: How many random views of each training image are kept where images are changed at random. With 1 they
            are new in every epoch, and layers that see them are computed in every epoch.
        refit: Whether, when validation has said how far to go, the stages run again from the start with the
            validation images among the others. None: where `epochs` and `stages` are left open, there are test
            images to measure with, and at most 5,000 images.
        watch: "distance" and "gradient", by block, in every epoch, for the report; see `kt.training.Insight`.
        callbacks: Keras callbacks, passed to every stage, those of `refit` included; epochs are counted on.
        seed: For `keras.utils.set_random_seed`, and the data's orders start anew; None leaves both alone.
        run_dir: Folder for `run.json`, `log.csv`, `best.npz` (see `kt.training.load_best`) and the state
            to go on from; None writes nothing.
        resume: Whether to go on with the run that was killed in `run_dir`: same model, data and
            arguments. It ends as it would have without the kill; callbacks of your own start anew.
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
    asked = {
        "plan": plan,
        "epochs": epochs,
        "unfreeze": unfreeze,
        "learning_rate": learning_rate,
        "batch_norm": batch_norm,
        "stages": stages,
        "augment": augment,
        "cache": cache,
        "views": views,
        "refit": refit,
        "seed": seed,
    }
    _check(model, callbacks, seed)
    watched = insight.check(watch)
    decided = _decided(model, data, asked)
    folder = _folder(run_dir, resume)
    with contextlib.nullcontext() if folder is None else state.lock(folder):
        fingerprint = _fingerprint(model, decided, seed, views)
        saved = _saved(folder, fingerprint) if resume else None
        if folder is not None and saved is None:
            state.forget(folder)  # of an earlier run
            (folder / BEST).unlink(missing_ok=True)
        if seed is not None:
            keras.utils.set_random_seed(seed)
        given, record = (
            decided.given,
            _record(model, decided, asked, folder=folder, quiet=verbose == 0),
        )
        _settle_loss(model, given, record)
        run = Run(
            model=model,
            given=given,
            plan=decided.plan,
            record=record,
            best=Best(
                model,
                criteria.monitor(model) if given.validation is not None else None,
                folder=folder,
            ),
            keeper=Keeper(
                model,
                given,
                decided.plan,
                decided.cache,
                views=views,
                seed=seed,
                note=record.note,
                verbose=verbose,
            ),
            start=state.start(model, folder, resumed=saved is not None),
            watch=watched,
            callbacks=callbacks,
            folder=folder,
            fingerprint=fingerprint,
            seed=seed,
            verbose=verbose,
        )
        if saved is not None:
            run.take_up(saved)
            at = run.at.__dict__ if run.pending is None else run.pending[1]["at"]
            again = f" of {len(run.plan)}" if run.pending is None else " of the run on all images"
            record.note(f"going on with epoch {at['epoch'] + 1}, in stage {at['stage'] + 1}{again}")
        if folder is not None:
            run.callbacks = [Log(folder, upto=saved[1]["at"]["epoch"] if saved else 0), *callbacks]
        return _finished(run, data if decided.refit else None)


class _Decided(NamedTuple):
    """What a run will do, before it begins."""

    given: inputs.Inputs
    plan: list[Stage]
    cache: Cache
    refit: bool
    notes: list[str]


def _decided(model: keras.Model, data: object, asked: dict) -> _Decided:
    """Checks everything that was asked for, and chooses the rest."""
    given = inputs.checked(model, inputs.inputs(data))
    plan, notes = _plan(model, given, asked)
    is_open = asked["epochs"] is None and asked["stages"] is None
    changes = augmenting.chosen(asked["augment"], model, given, is_open=is_open, decided=notes)
    if given.is_weighted and not given.is_masked and any(stage.solve for stage in plan):
        raise checks.error(
            "a head must be trained where examples have weights other than 0 and 1",
            given="a plan that solves for it",
            fix="Use a plan without `solve`.",
        )
    notes += _diluted(model, given)
    given = augmenting.applied(changes, model, given, seed=asked["seed"])
    checks.integer(asked["views"], name="views")
    kept = Cache.of(asked["cache"])
    return _Decided(
        given, plan, kept, refitting.wanted(asked["refit"], data, is_open=is_open), notes
    )


def _diluted(model: keras.Model, given: inputs.Inputs) -> list[str]:
    """Notes which losses and metrics of the user's take missing labels into account."""
    if given.weights is None:
        return []
    config = compiling.arguments(model)
    names = []
    for loss in [each for each in keras.tree.flatten(config.get("loss")) if each is not None]:
        if getattr(loss, "reduction", "sum_over_batch_size") in ("sum_over_batch_size", "mean"):
            names.append(
                f"the loss {getattr(loss, 'name', loss)} (unless its reduction is 'mean_with_sample_weight')"
            )
    for metric in [each for each in keras.tree.flatten(config.get("metrics")) if each is not None]:
        names.append(
            f"the metric {getattr(metric, 'name', metric)} (unless it is one of `weighted_metrics`)"
        )
    return [f"missing labels count as examples in {', '.join(names)}"] if names else []


def _check(model: keras.Model, callbacks: object, seed: int | None) -> None:
    nodes.check_functional(model)
    if seed is not None:
        checks.integer(seed, name="seed", minimum=0, below=checks.SEEDS)
    for each in keras.tree.flatten(callbacks):
        if not isinstance(each, keras.callbacks.Callback):
            raise checks.error("`callbacks` must be a list of Keras callbacks", given=repr(each))
        if isinstance(each, keras.callbacks.BackupAndRestore):
            raise checks.error(
                "`callbacks` must not hold a BackupAndRestore",
                given="one, which forgets the optimizer between stages",
                fix="Use run_dir=... and resume=True.",
            )


def _record(
    model: keras.Model, decided: _Decided, asked: dict, *, folder: object, quiet: bool
) -> Record:
    """Begins the record, and prints what was decided."""
    record = Record(asked, folder=folder, quiet=quiet)
    record.facts["notes"] += decided.given.notes
    if told := kernels.told():
        record.note(told)
    for remark in () if quiet else decided.given.remarks:
        checks.note(remark)
    for note in decided.notes:
        record.note(note)
    mark = marks.representation(model)
    source = None if mark is None else dict(mark.source)
    record.update(digest=decided.given.digest, source=source, examples=decided.given.examples)
    return record


def _fingerprint(model: keras.Model, decided: _Decided, seed: int | None, views: int) -> dict:
    """What two runs must have in common for one to go on where the other stopped."""
    weights = [[path, list(variable.shape)] for path, variable in paths.variables(model).items()]
    arguments = {
        "stages": facts.of_plan(decided.plan),
        "augment": None if decided.given.changes is None else decided.given.changes.get_config(),
        "refit": decided.refit,
        **({} if views == 1 else {"views": views}),
    }
    return {
        "model": hashlib.sha256(json.dumps(weights).encode()).hexdigest(),
        "data": decided.given.identity,
        "arguments": json.loads(json.dumps(plain(arguments))),
        "seed": seed,
    }


def _finished(run: Run, data: object) -> keras.callbacks.History:
    """Runs all stages; the model has the best weights in the end.

    Args:
        run: Ready to go.
        data: To train on again, validation included, or None.
    """
    folder = run.folder
    try:
        history = run.go()
        run.best.finish()
        run.record.note(_outcome(run.best, history, is_kept=data is None))
        if run.keeper.is_rounded and run.best.weights is not None and not run.best.is_exact:
            run.record.note(_exactly(run, history))
        if data is not None and run.best.epoch is not None:
            refitting.refit(run, data)
    except BaseException:
        run.record.update(status="interrupted", best_epoch=run.best.epoch)
        if folder is not None and (folder / state.FILE).is_file():
            run.record.note(
                f"interrupted; the same call with run_dir={str(folder)!r}, resume=True goes on"
            )
        raise
    run.leave_plain_optimizer()
    run.record.update(
        status="finished",
        best_epoch=run.best.epoch,
        monitor=run.best.monitor,
        history=history.history,
    )
    if folder is not None:
        state.forget(folder)
    history.record = run.record.facts
    run.model.history = history
    return history


def _exactly(run: Run, history: keras.callbacks.History) -> str:
    """How far what was measured on rounded rows is from what the model does with images."""
    exact = run.model.evaluate(run.given.validation, return_dict=True, verbose=0)
    exact = {f"val_{name}": value for name, value in exact.items()}
    criteria.add_error(run.model, exact)
    name = run.best.monitor
    seen = dict(zip(history.epoch, history.history[name], strict=True))[run.best.epoch]
    found = exact[name]
    return (
        f"on rounded rows the best epoch had {name} {seen:.4f}, computed exactly it is {found:.4f}"
    )


def _folder(run_dir: str | os.PathLike | None, resume: bool) -> object:
    if run_dir is None:
        if resume:
            raise checks.error("`run_dir` must name the folder of the run to resume", given=None)
        return None
    return files.check_writable(run_dir, argument="run_dir")


def _saved(folder: object, fingerprint: dict) -> tuple[dict, dict]:
    """Returns the state to go on from."""
    saved = state.read(folder)
    if saved is None:
        given = repr(str(folder))
        if Record.status(folder) == "finished":
            given += ", whose run has finished"
        raise checks.error(
            "`run_dir` must hold a run that was interrupted", given=given, fix="Leave out `resume`."
        )
    for name, value in fingerprint.items():
        if saved[1]["fingerprint"].get(name) != value:
            raise checks.error(
                f"a run must be resumed with the same {name}",
                given=f"{str(folder)!r}, a run of another",
                fix="Make model, data and arguments as they were, or choose another folder.",
            )
    return saved


def _plan(model: keras.Model, given: inputs.Inputs, asked: dict) -> tuple[list[Stage], list[str]]:
    """Returns the stages, and what was decided for the user."""
    names = ("epochs", "unfreeze", "learning_rate", "batch_norm")
    if asked["stages"] is None:
        wishes = plans.Asked(
            **{name: asked[name] for name in names},
            examples=given.examples,
            batches=given.known_steps,
            is_weighted=given.is_weighted and not given.is_masked,
        )
        stages = plans.make(asked["plan"], model, wishes)
        check_plan(model, stages, argument="unfreeze", one_example=_one_example(given))
        return stages, wishes.decided
    if asked["plan"] != "two_stage":
        raise checks.error(
            "`plan` must be left out where `stages` is given", given=repr(asked["plan"])
        )
    for name in names:
        if asked[name] is not None:
            raise checks.error(
                f"`{name}` must be None where `stages` is given", given=repr(asked[name])
            )
    check_plan(model, asked["stages"], one_example=_one_example(given))
    return list(asked["stages"]), []


def _one_example(given: inputs.Inputs) -> bool:
    """Whether the training batches hold one example each."""
    shape = keras.tree.flatten(given.train.element_spec)[0].shape
    if shape.rank and shape[0] is not None:
        return shape[0] == 1
    if given.dealing[1:2] not in ((), (None,)):
        return given.dealing[1] == 1
    if given.known_steps is not None and given.examples is not None:
        return given.known_steps == given.examples
    first = next(iter((given.sample or given.train).take(1)))
    return int(keras.tree.flatten(first)[0].shape[0]) == 1


def _settle_loss(model: keras.Model, given: inputs.Inputs, record: Record) -> None:
    """Settles what depends on the training targets in the model's loss; one that the user compiled with is kept."""
    found = marks.outputs(model)
    present = (
        model.loss
        if isinstance(getattr(model, "loss", None), dict)
        else dict.fromkeys(found, model.loss)
    )
    ours = {
        name
        for name in found
        if isinstance(present.get(name), (losses.ClassLoss, losses.ScaledHuber))
    }
    if not any(found[name].task.needs_targets() for name in ours):
        return
    settled = marks.settled_losses(model, given.targets, given.weights)
    for name, layer in found.items():
        if layer.task.has_unit and layer.unit_is_known():
            scale, offset = (
                np.round(keras.ops.convert_to_numpy(part), 4)
                for part in (layer.scale, layer.offset)
            )
            record.note(
                f"{name}: answers are {offset.tolist()} plus {scale.tolist()} times what the head says"
            )
    merged = {name: settled[name] if name in ours else present.get(name) for name in found}
    compiling.set_loss(
        model, merged if isinstance(model.output, dict) else merged[next(iter(merged))]
    )


def _outcome(best: Best, history: keras.callbacks.History, *, is_kept: bool) -> str:
    if best.monitor is None:
        return "no validation data: the model keeps the weights of the last epoch"
    if best.epoch is None:
        return "the validation loss was never a number: lower the learning rate; the model keeps its last weights"
    at = history.epoch.index(best.epoch)
    whole = {
        name: values
        for name, values in history.history.items()
        if len(values) == len(history.epoch)
    }
    values = [
        f"{name} {values[at]:.4f}" for name, values in whole.items() if name.startswith("val_")
    ]
    end = "; its weights are in the model" if is_kept else ""
    return f"epoch {best.epoch + 1} is the best ({', '.join(values)}){end}"
