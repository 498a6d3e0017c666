"""`kt.explain`: from a model and images to maps of what its answers stand on."""

from collections.abc import Iterable
from typing import Any  # images and targets may be many things

import keras
import numpy as np

from keras_transfer.core import checks, lookup
from keras_transfer.evaluation import examples, predictions
from keras_transfer.evaluation.explain import EXPLAINERS, base, explanation
from keras_transfer.evaluation.explain.subject import Subject
from keras_transfer.machine import progress

__all__ = ["explain"]


def explain(
    model: keras.Model,
    images: Any,
    *,
    method: str | base.Explainer = "gradcam",
    task: str | None = None,
    target: Any = None,
    layer: str | None = None,
    batch_size: int = 32,
    verbose: str | int = "auto",
) -> explanation.Explanation:
    """Shows which places of images an answer stands on.

    Args:
        model: From `kt.build_model`, or any functional or sequential Keras model of images.
        images: Files, a folder, arrays, batches, as for `kt.predict`.
        method: A name of `kt.evaluation.EXPLAINERS`, or one of its classes with settings of your own:
            `kt.evaluation.RISE(masks=4000)`. "gradcam" is quick, "integrated_gradients" exact to the pixel;
            "occlusion" and "rise" need no gradients and no feature map.
        task: Which output of a model of several tasks.
        target: The class to explain, by its name or number, for all images or a list with one an image; of a regression
            the number of the output. By default the class that the model finds likeliest in each image.
        layer: For methods that look at a feature map: the layer whose output that is; by default the trunk's end.
        batch_size: Images in a pass through the model.
        verbose: As for `kt.predict`.

    Returns:
        The maps, with overlays: `explanation.maps`, `explanation.save(folder)`; a notebook shows them.

    Raises:
        InputError: If the method, the task, the target or the layer does not exist, or does not fit the model.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(["cat", "dog"]))
        >>> explanation = explain(model, np.zeros((2, 32, 32, 3), "uint8"), target="dog")
        >>> explanation.maps.shape, explanation.targets
        ((2, 32, 32), ['dog', 'dog'])
    """
    checks.integer(batch_size, name="batch_size")
    explainer = _find(method)
    if layer is not None and not explainer.needs_places:
        given = f"{layer!r} for {method!r}"
        raise checks.error("`layer` belongs to methods that look at a feature map", given=given)
    subject = Subject(model, task=task, layer=layer, has_places=explainer.needs_places)
    wanted = _targets(target, subject.names)
    source = predictions.read_images(model, images, batch_size)
    if wanted is not None and wanted.ndim and source.rows not in (None, len(wanted)):
        _check_count(len(wanted), source.rows)

    maps: list[np.ndarray] = []
    ids: list[np.ndarray] = []
    evidence: list[np.ndarray] = []
    kept: list[np.ndarray | None] = []
    files: list[str | None] = []
    label = f"Explaining answers of {model.name}"
    for batch in progress.follow(source.read(), label, total=source.steps, verbose=verbose):
        pixels = np.asarray(batch.images)
        speaks = subject.evidence(pixels)
        chosen = _of_batch(wanted, len(files), subject, speaks)
        values = explainer.explain(subject, pixels, chosen)
        maps.append(_enlarge(values, pixels.shape[1:3]))
        ids.append(chosen)
        evidence.append(np.take_along_axis(speaks, chosen[:, None], axis=1)[:, 0])
        kept += [examples.thumbnail(image, side=explanation.SIDE) for image in pixels]
        files += batch.files or [None] * len(pixels)
    if not maps:
        raise checks.error("`images` must have at least one image", given="none")
    if wanted is not None and wanted.ndim:
        _check_count(len(wanted), len(files))
    return explanation.Explanation(
        np.concatenate(maps),
        [subject.names[number] for number in np.concatenate(ids)],
        np.concatenate(evidence),
        method=method if isinstance(method, str) else type(method).__name__,
        task=subject.task_name,
        files=files,
        images=kept,
    )


def _find(method: str | base.Explainer) -> base.Explainer:
    if isinstance(method, base.Explainer):
        return method
    if not isinstance(method, str):
        known = ", ".join(map(repr, EXPLAINERS))
        expected = f"`method` must be one of {known}, or one of their classes with settings"
        raise checks.error(expected, given=repr(method))
    return lookup.find(method, EXPLAINERS, argument="method")()


def _targets(target: Any, names: list[str]) -> np.ndarray | None:
    """Returns the number of a target, or an array with one an image; None to choose it."""
    if target is None:
        return None
    is_one = isinstance(target, str) or not isinstance(target, Iterable)
    table = {name: number for number, name in enumerate(names)}
    numbers = []
    for each in [target] if is_one else target:
        if isinstance(each, str) and each not in table and each.isdigit():
            numbers.append(_in_range(int(each), len(names)))
        elif isinstance(each, str):
            numbers.append(lookup.find(each, table, argument="target"))
        elif isinstance(each, int | np.integer) and not isinstance(each, bool):
            numbers.append(_in_range(int(each), len(names)))
        else:
            expected = "`target` must be the name or the number of a class, or a list of them"
            raise checks.error(expected, given=repr(each))
    return np.array(numbers[0] if is_one else numbers)


def _in_range(number: int, count: int) -> int:
    if not 0 <= number < count:
        raise checks.error(f"`target` must lie in [0, {count})", given=number)
    return number


def _check_count(targets: int, images: int) -> None:
    if targets != images:
        expected = "`target` must be one class, or a list with one for each image"
        raise checks.error(expected, given=f"{targets} for {images} images")


def _of_batch(
    wanted: np.ndarray | None, first: int, subject: Subject, evidence: np.ndarray
) -> np.ndarray:
    """Returns the target of each image of a batch, whose first one has the number `first`."""
    count = len(evidence)
    if wanted is None:
        return subject.chosen(evidence)
    if not wanted.ndim:
        return np.full(count, wanted)
    own = wanted[first : first + count]
    _check_count(len(wanted), max(len(wanted), first + count))
    return own


def _enlarge(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns maps in the size of the images."""
    maps = maps.astype("float32")
    if maps.shape[1:] == tuple(size):
        return maps
    resized = keras.ops.image.resize(maps[..., None], size, interpolation="bilinear")
    return keras.ops.convert_to_numpy(resized)[..., 0]
