"""`kt.verify`: does an exported model answer as Keras does?"""

import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.core.checks import ParityError
from keras_transfer.data import adapt
from keras_transfer.graphs import precision
from keras_transfer.machine import engine, progress
from keras_transfer.serving import interface, saved_model

__all__ = ["ParityError", "verify"]

EXACT, ROUNDED = (
    1e-4,
    0.05,
)  # differences that are accepted: in full precision, and in half between two engines


def verify(
    path: str | os.PathLike,
    model: keras.Model,
    dataset: object = None,
    *,
    tolerance: float | None = None,
) -> dict[str, object]:
    """Checks on every image that an exported SavedModel gives the answers of `model`.

    Each image is sent to `pixels` and `features` as numbers and to `serving_default` as the bytes of a PNG
    file, where one can hold its channels. Numbers agree if they differ by at most `tolerance`, relative to
    values larger than 1. Labels must be equal, unless Keras gives both classes the same probability within
    `tolerance`.

    Args:
        path: The SavedModel folder.
        model: The model that was exported.
        dataset: From `kt.data` (its test split, else validation, else training); what Keras's `fit` takes, with or
            without targets; or image files and folders. Values 0..255; other than whole numbers are rounded. None for
            random images, of the model's size and of another.
        tolerance: The largest difference that is accepted. By default 1e-4; 0.05 where Keras computes in half precision
            on JAX, since TensorFlow, which runs the export, rounds its 8 to 11 bits at other places.

    Returns:
        `images` (how many), `signatures` (name to largest difference), `labels` (`agree` and `of`) and
        `tolerance`.

    Raises:
        ParityError: If any answer differs; says which, where and how much.
        InputError: If there is nothing to compare.

    Example:
        >>> import keras_transfer as kt
        >>> verify("absent", kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2)))
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `path` must be a SavedModel folder. Given: 'absent'.
    """
    if tolerance is None:
        tolerance = ROUNDED if engine.is_jax() and precision.is_half(model) else EXACT
    tolerance = checks.number(tolerance, name="tolerance", minimum=0)
    face = interface.Interface.of(model, answer_size=saved_model.answer_size(path))
    offered = saved_model.signatures(face)
    signatures = _load(path, offered).signatures
    by_keras = _by_keras(face)
    comparison = _Comparison(face, tolerance)
    label = f"Comparing {path} with {model.name}"
    for pixels in progress.follow(_batches(dataset, face), label):
        scales = face.scales(np.tile(pixels.shape[1:3], (len(pixels), 1)))
        answers, features = by_keras(face.resize(tf.constant(pixels)), scales)
        comparison.add("pixels", answers, signatures["pixels"](images=tf.constant(pixels)))
        if "image_bytes" in offered.values():
            files = tf.constant([tf.io.encode_png(image).numpy() for image in pixels])
            comparison.add(
                "serving_default", answers, signatures["serving_default"](image_bytes=files)
            )
        comparison.add("features", features, signatures["features"](images=tf.constant(pixels)))
        comparison.images += len(pixels)
    return comparison.result()


def _by_keras(face: interface.Interface) -> Callable[[tf.Tensor, tf.Tensor], tuple]:
    """Returns a function from pixels and scales to Keras's answers and features."""

    def answer(pixels: tf.Tensor, scales: tf.Tensor) -> tuple:
        return face.answers(pixels, scales), {"features": face.features(pixels)}

    if engine.is_jax():  # nothing for TensorFlow to trace
        return answer
    specification = tf.TensorSpec((None, *(face.size or (None, None)), face.channels), tf.uint8)
    signature = [specification, tf.TensorSpec((None, 2), tf.float32)]
    return tf.function(answer, input_signature=signature, autograph=False)


class _Comparison:
    """Collects what differs, batch by batch."""

    def __init__(self, face: interface.Interface, tolerance: float) -> None:
        self.face, self.tolerance = face, tolerance
        self.images = 0
        self.largest: dict = {}
        self.wrong: dict = {}  # signature to the indices of the images that differ
        self.first: str | None = None
        self.labels: set = set()  # the keys of labels
        self.unlike: set = set()  # (key, image) of labels that are not the same

    def add(
        self, signature: str, expected: Mapping[str, tf.Tensor], given: Mapping[str, tf.Tensor]
    ) -> None:
        """Compares a batch of answers."""
        expected = {key: value.numpy() for key, value in expected.items()}
        given = {key: value.numpy() for key, value in given.items()}
        if sorted(expected) != sorted(given):
            raise self._error(
                f"`{signature}` gives {', '.join(sorted(given))}, Keras {', '.join(sorted(expected))}"
            )
        for key, values in expected.items():
            if values.shape != given[key].shape:
                raise self._error(
                    f"`{signature}` gives {key} of shape {given[key].shape}, Keras {values.shape}"
                )
            gap = self._task_gap(key, values, given[key])
            if gap is not None:
                wrong = ~(gap <= self.tolerance)
                self._note_largest(signature, gap)
            elif values.dtype.kind in "OSU":
                wrong = self._unlike_texts(key, expected, given)
            else:
                with np.errstate(invalid="ignore"):  # infinity minus infinity
                    gap = np.abs(given[key] - values.astype("float64")) / np.maximum(
                        1, np.abs(values)
                    )
                wrong = ~(gap <= self.tolerance)  # a NaN agrees with nothing
                self._note_largest(signature, gap)
            self._note_wrong(signature, key, wrong, values, given[key])

    def _task_gap(self, key: str, expected: np.ndarray, given: np.ndarray) -> np.ndarray | None:
        """Returns how far answers are apart that their task compares in its own way, one number an image."""
        prefix, _, last = key.rpartition("/")
        task = self.face.tasks.get(prefix or self.face.names[0])
        return None if task is None else task.differences(last, expected, given)

    def _note_largest(self, signature: str, gap: np.ndarray) -> None:
        largest = [self.largest.get(signature, 0.0), gap.max(initial=0)]
        self.largest[signature] = float(np.max(largest))

    def _unlike_texts(
        self, key: str, expected: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Where texts differ, other than by a tie of their classes."""
        unlike = expected[key] != given[key]
        prefix, _, last = key.rpartition("/")
        if last == "label":
            self.labels.add(key)
            self.unlike |= {(key, self.images + row) for row in np.flatnonzero(unlike)}
        for place in map(tuple, np.argwhere(unlike)):
            pair = [
                self._probability(prefix, expected, place[0], side[key][place])
                for side in (expected, given)
            ]
            unlike[place] = not abs(pair[0] - pair[1]) <= self.tolerance
        return unlike

    def _probability(
        self, prefix: str, expected: Mapping[str, np.ndarray], row: int, label: Any
    ) -> float:
        """Keras's probability of a class by name; NaN if there is none."""
        task = self.face.tasks.get(prefix or self.face.names[0])
        names = [str(name).encode() for name in getattr(task, "class_names", None) or ()]
        probabilities = expected.get(f"{prefix}/probabilities" if prefix else "probabilities")
        if probabilities is None or label not in names:
            return np.nan
        return probabilities[row, names.index(label)]

    def _note_wrong(
        self, signature: str, key: str, wrong: np.ndarray, expected: np.ndarray, given: np.ndarray
    ) -> None:
        if not wrong.any():
            return
        rows = np.unique(np.nonzero(wrong)[0])
        self.wrong.setdefault(signature, set()).update((self.images + rows).tolist())
        if self.first is None:
            place = tuple(np.argwhere(wrong)[0])
            inner = "".join(f"[{index}]" for index in place[1:])
            text = f"{_text(given[place])} for image {self.images + place[0]}, Keras {_text(expected[place])}"
            self.first = f"`{signature}` gives {key}{inner} = {text}"

    def result(self) -> dict[str, object]:
        """Says that all agree, or raises an error."""
        if not self.images:
            raise checks.error("`dataset` must have at least one image", given="none")
        if self.first is not None:
            counts = [f"{len(rows)} in {signature}" for signature, rows in self.wrong.items()]
            raise self._error(
                f"{self.first}; different images: {', '.join(counts)}, of {self.images}"
            )
        largest = f"{max(self.largest.values()):.1g}".replace("e-0", "e-")
        checks.note(
            f"SavedModel agrees with Keras on {self.images} of {self.images} images (max difference {largest})"
        )
        labels = len(self.labels) * self.images
        return {
            "images": self.images,
            "signatures": self.largest,
            "labels": {"agree": labels - len(self.unlike), "of": labels},
            "tolerance": self.tolerance,
        }

    def _error(self, given: str) -> ParityError:
        expected = f"the SavedModel must answer as Keras does, within {self.tolerance:g}"
        return ParityError(
            f"{expected}. Given: {given}. If the model was changed since, export it again."
        )


def _text(value: bytes | np.number) -> str:
    return value.decode() if isinstance(value, bytes) else f"{value:.6g}"


def _load(path: str | os.PathLike, offered: Mapping[str, str]) -> Any:
    folder = pathlib.Path(path)
    if not (folder / "saved_model.pb").is_file():
        raise checks.error("`path` must be a SavedModel folder", given=repr(str(path)))
    try:
        loaded = tf.saved_model.load(str(folder))
    except (OSError, tf.errors.OpError) as broken:
        reason = str(broken).strip().splitlines()[0]
        raise checks.error(
            "`path` must be a whole SavedModel", given=f"{str(path)!r} ({reason})"
        ) from broken
    for name, argument in offered.items():
        function = loaded.signatures.get(name)
        if function is None or list(function.structured_input_signature[1]) != [argument]:
            found = ", ".join(loaded.signatures) or "none"
            raise checks.error(
                f"`path` must have the signatures of kt.export: {', '.join(offered)}",
                given=f"{found} in {str(path)!r}",
            )
    return loaded


def _batches(dataset: object, face: interface.Interface) -> Iterator[np.ndarray]:
    """Yields the images as uint8 batches."""
    rounded = False
    for images in _images(dataset, face):
        pixels = _checked(images, face)
        rounded = rounded or not np.array_equal(pixels, images)
        yield pixels
    if rounded:
        checks.note("images were rounded to whole numbers for the comparison")


def _images(dataset: object, face: interface.Interface) -> Iterator[np.ndarray]:
    if dataset is None:
        yield from _random(face)
        return
    shape = (None, *(face.size or (None, None)), face.channels)
    splits = adapt.split(dataset, name="dataset", image_shape=shape)
    source = splits.first("test", "validation", "train")
    if source is None:
        raise checks.error("`dataset` must have at least one image", given="none")
    for batch in source.check("dataset", labelled=False).read():
        yield np.asarray(batch.images)


def _random(face: interface.Interface) -> Iterator[np.ndarray]:
    height, width = face.size or (96, 96)
    generator = np.random.default_rng(0)
    for size in ((height, width), (height + height // 2, width + 13)):
        yield generator.integers(0, 256, (8, *size, face.channels), dtype=np.uint8)


def _checked(images: np.ndarray, face: interface.Interface) -> np.ndarray:
    """Returns the images as uint8, or raises an error."""
    wanted = f"(batch, height, width, {face.channels})"
    if images.ndim != 4 or images.shape[-1] != face.channels or images.dtype.kind not in "uif":
        fix = "Batch the dataset: `dataset.batch(32)`." if images.ndim == 3 else ""
        given = f"{images.dtype} of shape {images.shape}"
        raise checks.error(f"the images must be numbers of shape {wanted}", given=given, fix=fix)
    if images.dtype == np.uint8:
        return images
    whole = np.rint(images)
    wrong = ~((whole >= 0) & (whole <= 255))
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        raise checks.error(
            "the images must have values 0..255",
            given=f"{images[place]} in image {place[0]} of a batch",
        )
    return whole.astype("uint8")
