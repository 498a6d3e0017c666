"""`kt.fine_tune`: stages run one after the other, each with its own `fit`."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Sequence

import keras

from keras_transfer import losses
from keras_transfer.core import checks, optional, processes
from keras_transfer.graphs import compiling, nodes
from keras_transfer.layers import marks
from keras_transfer.machine import kernels, progress, strategy, streams, watching
from keras_transfer.storage import files
from keras_transfer.training import first_batch, inputs, recipes
from keras_transfer.training.cache.settings import Cache
from keras_transfer.training.run import best, criteria, insight, state
from keras_transfer.training.run.clock import Clock
from keras_transfer.training.run.log import Log
from keras_transfer.training.run.record import Record
from keras_transfer.training.sessions import Session
from keras_transfer.training.stages import Stage

__all__ = ["fine_tune"]


@streams.telling()
def fine_tune(
    model: keras.Model,
    data: object,
    *,
    plan: str = "two_stage",
    epochs: int | tuple[int, int] | None = None,
    unfreeze: str | Sequence[str] | None = None,
    learning_rate: float | str | tuple[float, float] | None = None,
    batch_norm: str | None = None,
    rate_rule: str = "none",
    stages: Sequence[Stage] | None = None,
    augment: object = "auto",
    cache: str | Cache = "auto",
    views: int | None = None,
    refit: bool | None = None,
    calibrate: bool = True,
    watch: str | Sequence[str] = ("distance",),
    callbacks: Sequence[keras.callbacks.Callback] = (),
    time_limit: float | None = None,
    seed: int | None = None,
    run_dir: str | os.PathLike | None = None,
    tensorboard: bool = False,
    resume: bool = False,
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Adapts a pretrained model in stages: by default the head first, then the upper half of the trunk as well.

    Each stage is a `fit` of its own with a fresh optimizer, over one epoch counter. The trunk's batch
    normalisations run in inference mode. In the end the model has the weights of the best epoch. For a single
    classification that is the one with the highest validation accuracy, and among equals the lowest loss; for several
    tasks, the one with the lowest geometric mean of their errors (`val_error` in the logs: the share of wrong answers,
    or the loss of a task without one); otherwise, the one with the lowest validation loss. Where the rate falls, as it
    does by default, the last epoch counts as the best unless another was more accurate by more than chance. Without
    validation data it is the last epoch. Every choice made here is printed and recorded, and an argument overrides it.

    Args:
        model: A compiled functional model, of `kt.build_model` or your own. Changed in place.
        data: From `kt.data`; or a `tf.data.Dataset`; or a pair (train, validation) of them.
        plan: "two_stage"; "gradual" (one block more at a time), "lp_ft" (the head solved for, then
            everything), "surgical" (the head, then chosen blocks only), "full", "head_only" (solved for where it is
            linear and `epochs` and `learning_rate` are left open), "lora" (low-rank updates, merged at the end) or
            "norms_and_biases".
        epochs: A pair for two stages, by default chosen from the data's size. For "two_stage" one number is that of
            the second stage: with it, or with None, a linear head is solved for first, which is no epoch, unless
            `learning_rate` is a pair or examples have weights other than 0 (a missing label) and 1.
        unfreeze: What trains in the second stage: a pattern ("block_13*": the first block or layer
            that matches, and everything above it) or "all". By default the upper half of the trunk's blocks, and "all"
            where `epochs` is a pair and for other plans. For "surgical": the blocks that train.
        learning_rate: Of the two stages, or of the one; "auto" searches for it.
        batch_norm: "inference" (the default), "train", "synchronized" or "recalibrate", see `kt.Stage`.
        rate_rule: How rates, which are meant for batches of 32, follow the batch size of all devices together:
            "linear", "square_root", or "none".
        stages: A plan of your own, instead of the arguments from `plan` on.
        augment: Random changes to the training images, with their boxes and masks: a `kt.data.Augment`, "light",
            "medium", "strong", or None for none. "auto" is "light" with 4 `views` for at most 1,000 images with boxes
            or masks where `epochs` and `stages` are left open, else none: in the few epochs that are chosen for other
            tasks they cost more time than they are worth.
        cache: The outputs of frozen layers are the same in every epoch, so they are computed once: "memory", "disk"
            (for later runs, too), "auto" (memory while there is enough), "off"; or a `kt.training.Cache`. The result is
            the same; where it would not be, a line says why nothing is kept.
        views: How many random views of each training image are kept where images are changed at random. With 1, as by
            default where you choose `augment`, they are new in every epoch, and layers that see them are computed in
            every epoch.
        refit: Whether, when validation has said how far to go, the stages run again from the start on training and
            validation images together, which about doubles the time; a head is solved for with the penalty that was
            found. None: where `epochs` and `stages` are left open
            and there are at most 5,000 images, with test images or without. `kt.evaluate` then measures the first
            run's weights on validation images, since the final ones have been trained on them.
        calibrate: Whether answers are made to fit the validation images in the end, by `kt.training.calibrate`: the
            confidences of classes, where there are 20 images or more, and the thresholds of tags.
        watch: "distance" and "gradient", by block, in every epoch, for the report; see `kt.training.Insight`.
        callbacks: Keras callbacks, passed to every stage; epoch numbers go on from stage to stage. In the run of
            `refit`, which has no validation data, a `ModelCheckpoint` of the best epoch saves every epoch, and an
            `EarlyStopping` on a validation value is left out: the run is as long as the first one.
        time_limit: Seconds that the call may take, of all its parts together and over a kill. Stages are cut short so
            that they fit, with a rate that falls at its end; the run of `refit` is left out where there is no time for
            it. The limit is one on what a loop can stop: loading of the first batches, tracing and a solved head take
            the time that they take.
        seed: For `keras.utils.set_random_seed`, which None leaves out, and of the random changes to images, where None
            means 0. The orders of data from `kt.data` depend on its own seed and on the epoch number only. The head has
            its first weights already: give `kt.build_model` a seed, too, and a script trains the same model in every
            process.
        run_dir: Folder for `run.json`, `results.csv`, `train_batch0.png` (what the network sees first), `best.npz` (see
            `kt.training.load_best`) and the state to go on from; None writes nothing. Of several workers the first one
            writes, and all read: the folder must be one that all of them see.
        tensorboard: Whether the curves also go into the folder `tensorboard` of `run_dir`, for TensorBoard.
        resume: Whether to go on with the run that was killed in `run_dir`: same model, data and
            arguments. It ends as it would have without the kill; callbacks of your own start anew.
        verbose: As in `fit`; 0 also silences the notes. "auto" shows bars on a terminal and in a notebook, and
            elsewhere, as in a log file, one line an epoch.

    Returns:
        One Keras `History` over all stages, its lists of equal length; `history.record` is the run record. As in
        Keras, epochs count from 0 here, in `run.json` and in `results.csv`, and from 1 in what is printed.

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
    arguments = {
        "plan": plan,
        "epochs": epochs,
        "unfreeze": unfreeze,
        "learning_rate": learning_rate,
        "batch_norm": batch_norm,
        "rate_rule": rate_rule,
        "stages": stages,
        "augment": augment,
        "cache": cache,
        "views": views,
        "refit": refit,
        "calibrate": calibrate,
        "time_limit": time_limit,
        "seed": seed,
    }
    if time_limit is not None and processes.are_several():
        fix = "Their clocks would part them: give `epochs`."
        raise checks.error(
            "`time_limit` must be left out with several workers", given=time_limit, fix=fix
        )
    clock = Clock(time_limit)
    _check_arguments(model, callbacks, seed)
    watched = insight.check(watch)
    recipe = recipes.decide(model, data, arguments)
    folder = _check_folder(run_dir, resume)
    if tensorboard and processes.writes():
        callbacks = [*callbacks, _make_board(folder)]
    clock.check(model, recipe.data)

    # All processes of a run read its folder; the first one writes there.
    written = folder if processes.writes() else None

    with contextlib.nullcontext() if written is None else state.lock(written):
        saved = None
        if folder is not None and resume:
            saved = _read_state(folder, recipe.fingerprint(model))
        elif written is not None:
            _check_not_interrupted(written)
        if written is not None and saved is None:
            state.forget(written)
            (written / best.FILE).unlink(missing_ok=True)

        if seed is not None:
            keras.utils.set_random_seed(seed)
        record = _start_record(model, recipe, arguments, folder=written, quiet=verbose == 0)
        _settle_loss(model, recipe.data, record.note)
        if written is not None:
            first_epoch = saved.facts["at"]["epoch"] if saved else 0
            callbacks = [Log(written, upto=first_epoch), *callbacks]

        draw_first_batch = first_batch.drawer(model, recipe.data, seed=recipe.seed)
        if written is not None and saved is None:
            first_batch.write(draw_first_batch, written)

        session = Session(
            model=model,
            recipe=recipe,
            record=record,
            start=state.start(model, folder, resumed=saved is not None),
            watch=watched,
            callbacks=callbacks,
            folder=folder,
            verbose=progress.verbosity(verbose),
            clock=clock,
        )
        with progress.auto_means(verbose), watching.explained():
            history = session.train(saved)
        history.draw_first_batch = draw_first_batch  # for `kt.evaluate`
        return history


def _make_board(folder: pathlib.Path | None) -> keras.callbacks.Callback:
    """Returns the callback that writes the curves for TensorBoard."""
    if folder is None:
        raise checks.error("`tensorboard` needs a `run_dir`", given="none", fix="Set `run_dir=`.")
    optional.require("tensorboard", extra="tensorboard", purpose="`tensorboard`")
    return keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False)


def _check_arguments(model: keras.Model, callbacks: object, seed: int | None) -> None:
    nodes.check_functional(model)
    strategy.check_model(model)
    if seed is not None:
        checks.integer(seed, name="seed", minimum=0, below=checks.SEEDS)
    for callback in keras.tree.flatten(callbacks):
        if not isinstance(callback, keras.callbacks.Callback):
            raise checks.error(
                "`callbacks` must be a list of Keras callbacks", given=repr(callback)
            )
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise checks.error(
                "`callbacks` must not hold a BackupAndRestore",
                given="one, which forgets the optimizer between stages",
                fix="Use run_dir=... and resume=True.",
            )


def _check_folder(run_dir: str | os.PathLike | None, resume: bool) -> pathlib.Path | None:
    if run_dir is not None and not processes.writes():
        return pathlib.Path(run_dir).expanduser()
    if run_dir is not None:
        return files.check_writable(run_dir, argument="run_dir")
    if resume:
        raise checks.error("`run_dir` must name the folder of the run to resume", given=None)
    return None


def _check_not_interrupted(folder: pathlib.Path) -> None:
    """Raises an error if an interrupted run would be lost."""
    if (folder / state.FILE).is_file():
        raise checks.error(
            "`run_dir` must not hold an interrupted run",
            given=repr(str(folder)),
            fix=f"Set `resume=True` to continue it, or choose another folder (or delete its {state.FILE}).",
        )


def _read_state(folder: pathlib.Path, fingerprint: dict) -> state.Saved:
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
        if saved.facts["fingerprint"].get(name) != value:
            raise checks.error(
                f"a run must be resumed with the same {name}",
                given=f"{str(folder)!r}, a run of another",
                fix="Make model, data and arguments as they were, or choose another folder.",
            )
    return saved


def _start_record(
    model: keras.Model,
    recipe: recipes.Recipe,
    arguments: dict,
    *,
    folder: pathlib.Path | None,
    quiet: bool,
) -> Record:
    """Begins the record, and prints what was decided."""
    record = Record(arguments, folder=folder, quiet=quiet)
    record.facts["notes"] += recipe.data.notes
    if not quiet:
        for remark in recipe.data.remarks:
            checks.note(remark)
    if not quiet and (advice := kernels.advice()):
        record.note(advice)
    for line in [*recipe.notes, *criteria.explain_logs(model)]:
        record.note(line)
    mark, changes = marks.representation(model), recipe.data.changes
    record.update(
        run_dir=None if folder is None else str(folder),
        augment=None if changes is None else changes.changes,
        digest=recipe.data.digest,
        source=None if mark is None else dict(mark.source),
        examples=recipe.data.examples,
        labels=first_batch.count_labels(model, recipe.data),
    )
    return record


def _settle_loss(model: keras.Model, data: inputs.Inputs, note: Callable[[str], None]) -> None:
    """Puts what depends on the training targets into the package's losses; a loss of the user's own stays."""
    outputs = marks.outputs(model)
    loss = getattr(model, "loss", None)
    present = loss if isinstance(loss, dict) else dict.fromkeys(outputs, loss)
    ours = {name for name in outputs if isinstance(present.get(name), losses.TaskLoss)}
    if not any(outputs[name].task.needs_targets() for name in ours):
        return

    settled = marks.settled_losses(model, data.targets, data.weights)
    for name, layer in outputs.items():
        if layer.task.has_unit and layer.unit_is_known():
            mean, deviation = (
                keras.ops.convert_to_numpy(part).round(4).tolist()
                for part in (layer.offset, layer.scale)
            )
            note(
                f"{name!r} is learned as (value - {mean}) / {deviation}: mean and standard deviation of the "
                "training targets. Predictions are in the original unit."
            )
    merged = {name: settled[name] if name in ours else present.get(name) for name in outputs}
    is_joint = isinstance(model.output, dict)
    compiling.set_loss(model, merged if is_joint else merged[next(iter(merged))])
