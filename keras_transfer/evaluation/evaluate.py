"""One pass of a model over labelled images, measured into a report."""

import contextlib
import datetime
import io
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any  # tasks, data and histories are duck-typed: other rooms, or the user's own

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import tasks
from keras_transfer.core import checks, labelled, lookup
from keras_transfer.data import adapt, batches
from keras_transfer.evaluation import answers, examples, report
from keras_transfer.evaluation import groups as _grouping
from keras_transfer.evaluation.explain import EXPLAINERS, explaining
from keras_transfer.graphs import logits, paths, pixel_range
from keras_transfer.layers import marks
from keras_transfer.machine import engine, progress, streams
from keras_transfer.metrics import ranking

__all__ = ["evaluate"]

DEFAULT_POINT = "precision=0.95"


@streams.telling()
def evaluate(
    model: keras.Model,
    data: Any,
    *,
    history: Any = None,
    task: Any = None,
    groups: str | Sequence | np.ndarray | None = None,
    at: str | None = None,
    max_mistakes: int = 24,
    explain: str | None = None,
    verbose: str | int = "auto",
) -> report.Report:
    """Measures `model` on labelled images, in one pass.

    Every task of the model that `data` has targets for is measured. Examples with a sample weight of 0 (missing
    labels) are left out; other weights do not change the scores. The model is not changed.

    Args:
        model: From `build_model`, or any Keras model that takes images: then outputs of shape (batch, classes) with
            integer targets are class probabilities, and outputs with float targets are numbers.
        data: From `kt.data`, of which the test split is measured, else the validation split; or what Keras's `fit`
            takes: `(images, targets[, weights])`, a `tf.data.Dataset`, a `PyDataset`, batches with a length. Targets
            of several tasks are a dict by task name.
        history: What `fine_tune` or `fit` returned, or the dict of a `run.json`, for curves and stages; by default the
            model's own history if it was fine-tuned in this process.
        task: For a model of your own: the task, or a dict of tasks by output name, that measure its outputs.
        groups: A value for each image, in the order of the data, or the name of another target with classes: the report
            then has the scores of each group, too, so that a model that is worse for some of them is seen. Images
            without a label of that target are a group of their own.
        at: Operating points to tell, such as "precision=0.95" (then the default) or "recall=0.9": from which
            probability on a class is right so often. They are chosen on the images that are measured.
        max_mistakes: How many of the most confident mistakes of each task the report shows as pictures.
        explain: A method of `kt.explain`, such as "gradcam", to paint on each mistake the places that the wrong answer
            stands on.
        verbose: 0 prints no notes, which the report has all the same; 1 shows a bar if it takes over two seconds,
            2 one line instead; "auto" is 1 on a terminal and in a notebook, else 2.

    Returns:
        A `Report`: `report["accuracy"]`, or `report["breed"]["accuracy"]` with several tasks.

    Raises:
        InputError: If there is nothing to measure, the images are not what the model takes, or targets and outputs do
            not fit each other.

    Example:
        >>> inputs = keras.Input((8, 8, 3))
        >>> model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(inputs)))
        >>> images = np.zeros((3, 8, 8, 3), "float32")
        >>> images[:, :, :, 0] = 9
        >>> report = evaluate(model, (images, np.array([0, 0, 1])))
        >>> round(report["accuracy"], 3)
        0.667
    """
    max_mistakes = checks.integer(max_mistakes, name="max_mistakes", minimum=0)
    point = ranking.read_operating_point(DEFAULT_POINT if at is None else at)
    begin = time.perf_counter()
    source = _choose_split(data, quiet=verbose == 0)
    signature = _signature(model, source.batches)
    if explain is not None:
        lookup.find(explain, EXPLAINERS, argument="explain")
    clock, outputs = _Clock(), {}
    collected: dict[str, answers.Answers] = {}
    grouping = _grouping.Grouping(groups, source.batches.rows, source.class_names)
    is_held_out = _is_held_out(model, source)
    with _weights_that_never_saw(model, source, is_held_out=is_held_out):
        measured = progress.follow(
            _batches(model, source, signature, clock),
            f"Measuring {model.name}",
            total=source.batches.steps,
            verbose=verbose,
        )
        for first, images, truth, weights, outputs in measured:
            names = list(outputs)
            group_names = grouping.of_batch(first, len(images), truth, weights)
            truth = _by_name(truth, names, "targets")
            weights = _by_name(weights, names, "weights")
            if not collected:
                options = {"keep": max_mistakes, "keeps_images": explain is not None, "at": point}
                collected = _new_answers(model, task, source, names, truth, options)
                if at is not None:
                    _check_points(collected)
            for name, collector in collected.items():
                weight = _array(weights.get(name))
                collector.add(
                    first, images, truth[name].numpy(), outputs[name], weight, group_names
                )
        if explain is not None:
            _paint_heat(model, collected, source, explain)
    if not clock.examples:
        raise checks.error("`data` must have at least one example", given="an empty dataset")
    grouping.check_end(clock.examples)
    results = _results(collected, source, _find_groups(data, source, clock.examples))
    trained = _training_facts(model, history)
    if source.batches.split == "validation":
        earlier_use = _earlier_use(source.facts, trained["training"], is_held_out=is_held_out)
        source.note(f"no test split: measured {earlier_use.format(clock.examples)}")
        for result in results.values():
            result.scores["measured_on"] = earlier_use.format(result.scores["support"])
    about = {
        "model": _model_facts(model),
        "data": {
            **source.facts,
            "examples": clock.examples,
            "image_size": signature.shape[1:3].as_list(),
        },
        "speed": {"images_per_second": clock.rate(), "seconds": time.perf_counter() - begin},
        **trained,
        "only_in_training": _only_in_training(model, trained["training"]),
        "notes": source.notes,
        "versions": {
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
        },
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    several = len(outputs) > 1 or isinstance(getattr(model, "output", None), Mapping)
    return report.Report(
        results if several else next(iter(results.values())),
        about,
        first_batch=_first_batch(model, history),
    )


@dataclass
class _Source:
    """The batches to measure, and the facts and notes of the report about them."""

    batches: batches.Batches
    class_names: Any
    facts: dict
    notes: list[str]
    quiet: bool

    def note(self, text: str) -> None:
        """Prints a line, and keeps it for the report."""
        self.notes.append(text if self.quiet else checks.note(text))


@dataclass
class _Clock:
    seconds: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    @property
    def examples(self) -> int:
        return sum(self.sizes)

    def rate(self) -> float:
        """Images a second; the first batch also pays for tracing and is left out if there are others."""
        skip = 1 if len(self.sizes) > 1 else 0
        return sum(self.sizes[skip:]) / sum(self.seconds[skip:])


def _choose_split(data: Any, *, quiet: bool) -> _Source:
    """Returns the batches to measure, of the test split if there is one, and what the report says about them."""
    splits = adapt.split(data)
    part = splits.first("test", "validation")
    if part is None:
        raise checks.error(
            "`data` must have a test or validation split", given="neither", fix="Set `test=0.2`."
        )
    facts: dict = {}
    if getattr(data, "folder", None):
        facts["folder"] = data.folder
    if part.split is not None:
        seed = splits.order[0] if splits.order else None
        facts |= {"split": part.split, "digest": splits.digest, "seed": seed}
    return _Source(part.check("data"), splits.class_names, facts, list(splits.notes), quiet)


def _earlier_use(facts: Mapping, record: Mapping | None, *, is_held_out: bool) -> str:
    """Returns what validation images were used for before, and what that makes of the scores; {} stands for how many.

    Args:
        facts: About the data.
        record: Of the run that trained the model, if known.
        is_held_out: Whether the weights that were measured are not of a run on these images.
    """
    if not record or record.get("digest", facts["digest"]) != facts["digest"]:
        return "on the {:,} validation images: optimistic if they chose the epoch"
    if record.get("refit") and not is_held_out:
        return "on {:,} images that the model was trained on in the end (refit): too optimistic"
    return "on the {:,} images that chose the epoch: optimistic"


def _is_held_out(model: keras.Model, source: _Source) -> bool:
    """Whether `kt.fine_tune` left weights with the model that were not trained on these validation images."""
    history: Any = getattr(model, "history", None)
    if source.batches.split != "validation" or getattr(history, "before_refit", None) is None:
        return False
    return history.record["digest"] == source.facts["digest"]


@contextlib.contextmanager
def _weights_that_never_saw(
    model: keras.Model, source: _Source, *, is_held_out: bool
) -> Iterator[None]:
    """Puts the weights of the first run into the model where the final ones were trained on the images (refit)."""
    if not is_held_out:
        yield
        return
    source.note(
        "measured with the weights before refit: the final ones have been trained on these images"
    )
    final = model.get_weights()
    model.set_weights(model.history.before_refit)
    try:
        yield
    finally:
        model.set_weights(final)


def _signature(model: keras.Model, part: batches.Batches) -> tf.TensorSpec:
    """Returns the spec of the images, with any batch size."""
    taken = tuple(model.inputs[0].shape) if getattr(model, "inputs", None) else (None,) * 4
    signature = part.image_spec(taken, "data")
    pixel_range.check_shape(taken, signature.shape, name="`data`'s images")
    return signature


def _batches(
    model: keras.Model, source: _Source, signature: tf.TensorSpec, clock: _Clock
) -> Iterator[tuple]:
    """Yields (index of the first example, images, targets, weights, outputs by name) for each batch."""
    predict = engine.make_forward(model, signature)
    named = list(marks.outputs(model)) or list(getattr(model, "output_names", None) or ["output"])
    dataset = source.batches.dataset
    for batch in dataset:
        images, truth, weights = keras.utils.unpack_x_y_sample_weight(batch)
        if not len(images):
            continue
        if not clock.examples:
            more = pixel_range.further(dataset)
            warning = pixel_range.check(model, images.numpy(), name="`data`'s images", more=more)
            if warning:
                source.note(warning)
        start = time.perf_counter()
        outputs = predict(images)
        if not marks.outputs(model):
            outputs = logits.to_probabilities(model, outputs)
        outputs = {
            name: np.asarray(value) for name, value in _by_name(outputs, named, "outputs").items()
        }
        clock.seconds.append(time.perf_counter() - start)
        yield clock.examples, images.numpy(), truth, weights, outputs
        clock.sizes.append(len(images))


def _by_name(values: Any, names: list[str], what: str) -> dict[str, tf.Tensor]:
    """Returns outputs, targets or weights as a dict, whichever way Keras allows them to be given."""
    if values is None:
        return {}
    if isinstance(values, Mapping):
        only = next(iter(values.values())) if len(values) == len(names) == 1 else None
        return dict(values) if only is None else {names[0]: only}
    if isinstance(values, (tuple, list)):
        if len(values) != len(names):
            raise checks.error(
                f"there must be {len(names)} {what}, for {', '.join(names)}", given=len(values)
            )
        return dict(zip(names, values, strict=True))
    if len(names) > 1 and what != "weights":
        raise checks.error(
            f"{what} must be a dict by task, {', '.join(names)}",
            given=f"one of shape {values.shape}",
        )
    return dict.fromkeys(names, values)


def _new_answers(
    model: keras.Model,
    task: Any,
    source: _Source,
    names: list[str],
    truth: Mapping,
    options: Mapping[str, Any],
) -> dict[str, answers.Answers]:
    """Returns an empty `Answers` for every task that has targets; notes the tasks that have none."""
    if "about" in names:
        raise checks.error(
            "no task may be named 'about', the report's key for the rest", given=", ".join(names)
        )
    by_name = {name: output.task for name, output in marks.outputs(model).items()}
    if task is not None:
        by_name |= _by_name(task if isinstance(task, Mapping) else {names[0]: task}, names, "tasks")
    for each in by_name.values():
        tasks.require(each)
    measured = [name for name in names if name in truth]
    if not measured:
        expected = f"`data` must have targets of {', '.join(names)}"
        raise checks.error(expected, given=", ".join(map(str, truth)) or "none")
    for missing in set(names) - set(measured):
        source.note(f"the data has no targets of {missing!r}: not measured")
    class_names = labelled.by_task(source.class_names, measured[0])
    collected = {}
    for name in measured:
        collected[name] = answers.Answers(
            name,
            by_name.get(name),
            class_names=class_names.get(name),
            **options,
        )
    return collected


def _paint_heat(
    model: keras.Model, collected: Mapping[str, answers.Answers], source: _Source, method: str
) -> None:
    """Finds what the mistakes of each task stand on; notes where the method does not fit the model."""
    outputs = list(marks.outputs(model)) or list(getattr(model, "output_names", None) or [])
    for name, collector in collected.items():
        task = name if len(outputs) > 1 else None

        def maps_of(images: np.ndarray, task: str | None = task) -> list[np.ndarray]:
            explained = explaining.explain(model, images, method=method, task=task, verbose=0)
            return [explained.heat(index) for index in range(len(explained))]

        try:
            collector.paint_heat(maps_of)
        except checks.InputError as refused:
            source.note(f"no heat maps of {name!r}: {refused}")


def _check_points(collected: Mapping[str, answers.Answers]) -> None:
    """Raises an error where no task has operating points."""
    measured = [each.task for each in collected.values()]
    if any(task is None or task.has_operating_points for task in measured):
        return
    kinds = ", ".join(task.kind for task in measured if task is not None)
    raise checks.error(
        "`at` needs a task with a probability of each class or tag", given=f"`at` and {kinds}"
    )


def _find_groups(data: Any, source: _Source, examples: int) -> np.ndarray | None:
    """Returns a number for each image, equal for those that belong together; None where each is by itself."""
    split = source.batches.split
    groups = (getattr(data, "groups", None) or {}).get(split)
    if groups is None or len(groups) != examples:
        return None
    count = len(np.unique(groups))
    if count == examples:
        return None
    source.note(
        f"{examples:,} images are of {count:,} groups (a person, a video, copies of a file): intervals are those of "
        "so many groups, not of independent images"
    )
    return np.asarray(groups)


def _results(
    collected: dict[str, answers.Answers], source: _Source, together: np.ndarray | None
) -> dict[str, answers.Result]:
    results = {
        name: each.result(source.batches.files, together=together)
        for name, each in collected.items()
    }
    measured = {name: result for name, result in results.items() if result is not None}
    if not measured:
        raise checks.error(
            "`data` must have a labelled example", given="sample weight 0 for every example"
        )
    for name in results:
        if name not in measured:
            source.note(f"no example has a target of {name!r}: not measured")
    if any(each.reweighted for each in collected.values()):
        source.note("sample weights other than 0 and 1 count as 1 in the scores")
    return measured


def _array(value: Any) -> np.ndarray | None:
    return None if value is None else np.asarray(value)


def _training_facts(model: keras.Model, history: Any) -> dict:
    """Returns the curves, their epochs (from 0) and the run record: what the page says about the training."""
    if history is None:
        history = getattr(model, "history", None)
        if not hasattr(history, "record"):
            return {"history": {}, "epochs": [], "training": None}
    if isinstance(history, Mapping):
        record: Mapping | None = history
        curves = history.get("history", {})
        epochs = _epochs(history.get("stages", ()))
    elif hasattr(history, "history"):
        record = getattr(history, "record", None)
        curves, epochs = history.history, history.epoch
    else:
        raise checks.error(
            "`history` must be a Keras History or a run record", given=type(history).__name__
        )
    if record and record.get("refit"):
        curves, epochs = _add_second_run(curves, list(epochs), record["refit"])
    record = record and {key: value for key, value in record.items() if key != "history"}
    return {"history": curves, "epochs": epochs, "training": record}


def _first_batch(model: keras.Model, history: Any) -> bytes | None:
    """Returns a JPEG of the first training batch of the run that `history` is of; None where there is none."""
    if history is None:
        history = getattr(model, "history", None)
    if not isinstance(history, Mapping):
        draw = getattr(history, "draw_first_batch", None)
        return None if draw is None else examples.read_sheet(io.BytesIO(draw()))
    if history.get("run_dir") is None:
        return None
    return examples.read_sheet(pathlib.Path(history["run_dir"]) / "train_batch0.png")


def _add_second_run(
    curves: Mapping[str, list], epochs: list[int], second: Mapping
) -> tuple[dict[str, list], list[int]]:
    """Returns curves and epochs of a run and of the one on all images after it; None is not measured."""
    more = _epochs(second["stages"])
    joined: dict[str, list] = {}
    for name in dict.fromkeys([*curves, *second["history"]]):
        parts = [(curves, len(epochs)), (second["history"], len(more))]
        joined[name] = []
        for part, length in parts:
            values = list(part.get(name, ()))
            joined[name] += [None] * (length - len(values)) + values
    return joined, [*epochs, *more]


def _epochs(stages: Sequence[Mapping]) -> list[int]:
    """Returns the numbers of all epochs of some stages; a solved head takes none."""
    spans = [stage["epochs"] for stage in stages if "epochs" in stage]
    return [epoch for first, last in spans for epoch in range(first, last + 1)]


def _only_in_training(model: keras.Model, record: Mapping | None) -> list[str]:
    """Returns what makes the loss of training batches higher than that of other images, in words."""
    changes = dict((record or {}).get("augment") or {})
    smoothing = [changes.pop("label_smoothing", 0.0)]
    smoothing += [output.task.label_smoothing for output in marks.outputs(model).values()]
    layers = paths.leaves(model).values()
    rates = [layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)]
    reasons = []
    if changes:
        reasons.append(f"training images are changed at random ({', '.join(changes)})")
    if any(smoothing):
        reasons.append(f"training labels are smoothed by {max(smoothing):g}")
    if any(rates):
        reasons.append(f"dropout is on, up to {max(rates):g}")
    return reasons


def _model_facts(model: keras.Model) -> dict:
    trunk = marks.representation(model)
    source = dict(getattr(trunk, "source", None) or {})
    return {
        "name": model.name,
        "backbone": source.get("name"),
        "weights": source.get("weights"),
        "parameters": sum(map(_size, model.weights)),
        "trainable_parameters": sum(map(_size, model.trainable_weights)),
        "megabytes": sum(
            _size(weight) * np.dtype(weight.dtype).itemsize for weight in model.weights
        )
        / 1e6,
    }


def _size(weight: keras.Variable) -> int:
    return int(np.prod(weight.shape))
