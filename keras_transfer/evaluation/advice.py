"""What a report says first, in sentences: how good the answers are, whether the transfer helped, what to do next."""

from collections.abc import Iterable, Mapping, Sequence

from keras_transfer.evaluation import curves
from keras_transfer.pages import document
from keras_transfer.tasks import Task

__all__ = ["summarise"]

WIDE = 0.06  # half an interval of a share from which more test images are asked for
MEMORISED = 0.1  # what training may be ahead of validation
SURE = 0.95  # a mistake of this confidence may be a wrong label
UNCALIBRATED = 0.1
SMALLEST_GAIN = 0.005  # below it two shares are told as equal


def summarise(tasks: Iterable[tuple[str, Task, Mapping]], about: Mapping) -> dict[str, list[str]]:
    """Returns what a report answers first: `answer`, how good the model is, and `next`, what would make it better.

    Args:
        tasks: Name, task and scores of each; the name of a single one is "".
        about: The facts of a report: curves, epochs, the record of the run.

    Example:
        >>> import keras_transfer as kt
        >>> scores = {"mae": 0.5, "support": 40}
        >>> summarise([("", kt.tasks.Regression(), scores)], {})["answer"]
        ['Mean absolute error is 0.500 on 40 images.']
    """
    record = about.get("training") or {}
    answer: list[str] = []
    further: list[str] = []
    for name, task, scores in tasks:
        prefix = f"{name}: " if name else ""
        counts = _counts(record, name)
        sentences = [task.verdict(scores), _transfer(name, task, about)]
        answer += [prefix + sentence for sentence in sentences if sentence]
        advised = _general_advice(task, scores)
        if not task.baseline_warning(scores):  # else no class in particular is the trouble
            advised = task.advice(scores, counts) + advised
        further += [prefix + sentence for sentence in advised]

    further += _training_advice(about)
    return {"answer": answer, "next": further}


def _counts(record: Mapping, name: str) -> dict[str, int]:
    """Returns the number of training images of each label of a task."""
    tables = record.get("labels") or {}
    table = tables.get(name) or (next(iter(tables.values())) if len(tables) == 1 else None)
    if not table or table["splits"][:1] != ["train"]:
        return {}
    return {label: count for label, count, *_ in table["rows"]}


def _transfer(name: str, task: Task, about: Mapping) -> str:
    """Returns what training gained over the head alone, a probe of the frozen features, on the validation images."""
    record, history = about.get("training") or {}, about.get("history") or {}
    epochs, stages = about.get("epochs") or [], record.get("stages") or []
    best, key = record.get("best_epoch"), task.monitor
    if key is None or best not in epochs:
        return ""
    column = key if f"val_{key}" in history else f"{name}_{key}"
    values = history.get(f"val_{column}", [])
    place = list(epochs).index(best)
    before = curves.head_alone(history, epochs, stages).get(column)
    if before is None or place >= len(values) or values[place] is None:
        return ""

    after = values[place]
    numbers = f"{document.number(before)} to {document.number(after)}"
    measure = f"validation {key.replace('_', ' ')}"
    if abs(after - before) < SMALLEST_GAIN:
        return f"Training beyond the head changed nothing: {measure} {numbers}."
    verb = "raised" if after > before else "lowered"
    return f"Training beyond the head {verb} {measure} from {numbers}."


def _general_advice(task: Task, scores: Mapping) -> list[str]:
    """Returns advice that follows from numbers which several kinds of tasks have."""
    sentences = []
    sure = [each for each in scores.get("mistakes", ()) if SURE <= each["score"] <= 1]
    if task.link == "softmax" and sure:
        images = "image" if len(sure) == 1 else "images"
        sentences.append(
            f"The label of {len(sure)} {images} may be wrong: the model is at least {100 * SURE:.0f} % sure of another "
            "class. See the first mistakes below; `keras-transfer doctor` looks for wrong labels in all images."
        )
    if (scores.get("ece") or 0) > UNCALIBRATED:
        sentences.append(
            f"Do not read the confidences as chances: they are off by {scores['ece']:.2f} on average. More validation "
            "images would correct them better."
        )
    interval = (scores.get("intervals") or {}).get(task.score)
    if interval and task.higher_is_better and (interval[1] - interval[0]) / 2 > WIDE:
        low, high = map(document.number, interval)
        sentences.append(
            f"{scores['support']:,} images are few to measure on: the true value may be anywhere from {low} to {high}."
        )
    return sentences


def _training_advice(about: Mapping) -> list[str]:
    """Returns advice that follows from how the training went."""
    record, history = about.get("training") or {}, about.get("history") or {}
    epochs, stages = about.get("epochs") or [], record.get("stages") or []
    best, sentences = record.get("best_epoch"), []
    if best not in epochs or not any(name.startswith("val_") for name in history):
        return []

    gaps = _gaps(history, list(epochs).index(best))
    if gaps:
        name, training, validation = max(gaps, key=lambda gap: gap[1] - gap[2])
        figures = f"{name} {document.number(training)} in training, {document.number(validation)} in validation"
        if training - validation > MEMORISED:
            change = "" if record.get("augment") else ', or random changes (`augment="light"`),'
            sentences.append(
                f"The model knows its training images better than others ({figures}): more images{change} would help."
            )
        elif training < validation + MEMORISED / 2 and training < 1 - MEMORISED:
            frozen = stages[-1].get("frozen_parameters") if stages else None
            deeper = "unfreeze more blocks (`unfreeze=`), " if frozen else ""
            sentences.append(
                f"The model does not fit its training images yet ({figures}): {deeper}train longer or take a larger "
                "backbone."
            )
    trained = [stage for stage in stages if "epochs" in stage]
    if len(epochs) > 1 and best == epochs[-1] and not _has_falling_rate(trained):
        sentences.append("The last epoch was the best one: train longer (`epochs=`).")
    return sentences


def _gaps(history: Mapping[str, Sequence], place: int) -> list[tuple[str, float, float]]:
    """Returns name, training and validation value of each share of right answers at one epoch."""
    gaps = []
    for name, values in history.items():
        measured = history.get(f"val_{name}", ())
        if not name.endswith(("accuracy", "mean_iou")) or name.startswith("val_"):
            continue
        if place < min(len(values), len(measured)) and None not in (values[place], measured[place]):
            gaps.append((name.replace("_", " "), values[place], measured[place]))
    return gaps


def _has_falling_rate(stages: Sequence[Mapping]) -> bool:
    """Returns whether the learning rate of the last stage falls to its end, which makes the last epoch the best one."""
    return bool(stages) and "schedule" in stages[-1]
