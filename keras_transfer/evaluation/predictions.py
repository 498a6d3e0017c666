"""Answers for images: labels and probabilities, or numbers, as a list that prints as a table."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any  # images and answers may be many things

import keras
import numpy as np

from keras_transfer import tasks
from keras_transfer.core import checks
from keras_transfer.data import adapt, batches, pixels
from keras_transfer.evaluation import examples, tables
from keras_transfer.evaluation import pictures as pictures_of
from keras_transfer.graphs import logits
from keras_transfer.layers import marks
from keras_transfer.machine import engine, progress
from keras_transfer.pages import document
from keras_transfer.storage import headers

__all__ = ["Predictions", "predict", "read_images"]

SHOWN = 24  # rows of the table in a notebook
HEADER = 2**18  # bytes that hold the header of an image file


def predict(
    model: keras.Model,
    images: Any,
    *,
    top: int = 3,
    batch_size: int = 32,
    verbose: str | int = "auto",
) -> "Predictions":
    """Returns what `model` says about images: labels and probabilities, tags, numbers, boxes, masks or pictures.

    Args:
        model: From `kt.build_model`, or a Keras model of your own: its outputs are probabilities where they are in
            [0, 1] and add up to 1 (logits are turned into them if the compiled loss says so), else numbers.
        images: Files, a folder of them, an array `(n, height, width, channels)`, or a list of arrays or PIL images
            of any size. Batches without labels, too, but `Data` is measured with `kt.evaluate`.
        top: How many classes to list, the likeliest first.
        batch_size: Images decoded and answered at a time.
        verbose: 0 shows nothing; if it takes over two seconds, 1 shows a bar, 2 one line instead; "auto" is 1 on a
            terminal and in a notebook, else 2.

    Returns:
        A list with a dict an image, that prints as a table: `{"file": "a.jpg", "label": "cat", "probabilities":
        {"cat": 0.9, "dog": 0.1}}`, or `"value"` where the answer is numbers; also `"boxes"` with `"labels"` and
        `"scores"`, `"mask"`, `"depth"` or `"picture"` where it has places, in pixels of the picture that was given.
        With several tasks each has a dict of its own, under its name. `predictions.outputs` is what `model.predict`
        returns; of a detection the boxes that are left, of masks the class ids.

    Raises:
        InputError: If there is no such file, or images are not what the model takes.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(["cat", "dog"]))
        >>> predictions = predict(model, np.zeros((1, 32, 32, 3), "uint8"))
        >>> sorted(predictions[0]["probabilities"])
        ['cat', 'dog']
    """
    parts = list(_answer(model, images, top=top, batch_size=batch_size, verbose=verbose))
    return parts[0].joined_with(parts[1:])


def predict_to_file(
    model: keras.Model,
    images: Any,
    path: str | os.PathLike,
    *,
    top: int = 3,
    batch_size: int = 32,
    verbose: str | int = "auto",
) -> int:
    """Writes what `model` says about images to a table, batch by batch: a million images need no more memory than one.

    The columns are `file`, `label`, `probability` and `probabilities` (JSON), or `value`; of boxes also `boxes`,
    `labels` and `scores` (JSON). With several tasks the task's name stands before them: "breed/label".

    Args:
        model: As for `predict`.
        images: As for `predict`.
        path: Ends in .csv, .parquet (extra `tables`) or .jsonl (a JSON object a line). It appears when all is done.
        top: As for `predict`.
        batch_size: As for `predict`.
        verbose: As for `predict`.

    Returns:
        The number of images.

    Raises:
        InputError: As for `predict`; or if the file cannot be written, or has another ending.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(["cat", "dog"]))
        >>> predict_to_file(model, np.zeros((3, 32, 32, 3), "uint8"), "/tmp/doc_example.csv")
        3
    """
    tables.check_path(path)
    parts = _answer(model, images, top=top, batch_size=batch_size, verbose=verbose)
    first = next(parts)
    count = len(first)
    with tables.open_table(path, first.tasks) as write:
        write(first)
        for part in parts:
            write(part)
            count += len(part)
    return count


def _answer(
    model: keras.Model, images: Any, *, top: int, batch_size: int, verbose: str | int
) -> Iterator["Predictions"]:
    """Yields the answers of each batch, of which there is at least one."""
    checks.integer(top, name="top")
    checks.integer(batch_size, name="batch_size")
    sizes = _sizes(images)
    source = read_images(model, images, batch_size)
    label = f"Predicting with {model.name}"
    size = model.inputs[0].shape[1:3]
    task_by_name: dict = {}
    first = shown = 0
    for batch in progress.follow(source.read(), label, total=source.steps, verbose=verbose):
        outputs = _compact(model, engine.predict_on_batch(model, batch.images))
        by_name = _by_name(model, outputs)
        task_by_name = task_by_name or _tasks(model, by_name)
        files: Sequence[str | None] = batch.files or [None] * len(batch.images)

        rows: list[dict] = []
        for place, file in enumerate(files):
            row: dict = {} if file is None else {"file": file}
            scale = _scale(model, sizes, first + place, file)
            for name, task in task_by_name.items():
                answer = task.row(by_name[name][place], top=top, scale=scale)
                row |= answer if len(task_by_name) == 1 else {name: answer}
            rows.append(row)
        pictures = [
            examples.thumbnail(image) for image in np.asarray(batch.images[: SHOWN - shown])
        ]
        part = Predictions(rows, tasks=list(task_by_name), outputs=outputs, pictures=pictures)
        part.drawn_by = {name: (task, by_name[name]) for name, task in task_by_name.items()}
        part.image_size = None if None in size else tuple(size)
        first, shown = first + len(rows), shown + len(pictures)
        yield part
    if not first:
        raise checks.error("`images` must have at least one image", given="none")


class Predictions(list):
    """A list with a dict an image, see `predict`.

    Args:
        rows: The dicts.
        tasks: Names of the tasks.
        outputs: What the model returned for all images.
        pictures: Small copies of the first images, for notebooks.

    Example:
        >>> print(Predictions([{"file": "a.jpg", "label": "cat", "probabilities": {"cat": 0.9}}], tasks=["kind"]))
        a.jpg  cat  90.0%
    """

    def __init__(
        self,
        rows: Sequence[dict],
        *,
        tasks: Sequence[str],
        outputs: Any = None,
        pictures: Sequence[np.ndarray | None] = (),
    ) -> None:
        super().__init__(rows)
        self.tasks, self.outputs = list(tasks), outputs
        self.drawn_by: dict[str, tuple] = {}
        self.image_size: tuple[int, int] | None = None
        self._pictures = list(pictures)

    @property
    def labels(self) -> Any:
        """The answers in short, one an image: names, or numbers; with several tasks a dict of these lists."""
        columns = {}
        for name in self.tasks:
            found = [self.of_task(row, name) for row in self]
            columns[name] = [answer.get("label", answer.get("value")) for answer in found]
        return columns if len(self.tasks) > 1 else columns[self.tasks[0]]

    def of_task(self, row: Mapping, name: str) -> Mapping:
        """Returns what a row says about one task."""
        return row[name] if len(self.tasks) > 1 else row

    def joined_with(self, others: Sequence["Predictions"]) -> "Predictions":
        """Returns these answers and those of other images of the same model, in order."""
        parts = [self, *others]
        rows = [row for part in parts for row in part]
        outputs = keras.tree.map_structure(
            lambda *arrays: np.concatenate(arrays), *(part.outputs for part in parts)
        )
        pictures = [picture for part in parts for picture in part._pictures]
        joined = Predictions(rows, tasks=self.tasks, outputs=outputs, pictures=pictures)
        for name, (task, _) in self.drawn_by.items():
            arrays = [part.drawn_by[name][1] for part in parts]
            joined.drawn_by[name] = (task, np.concatenate(arrays))
        joined.image_size = self.image_size
        return joined

    def save(self, path: str | os.PathLike) -> None:
        """Writes the answers as a table; `kt.evaluation.predict_to_file` does it for images without end.

        Args:
            path: Ends in .csv, .parquet (extra `tables`) or .jsonl (a JSON object a line).

        Raises:
            InputError: If the ending is another, or the file cannot be written.
        """
        with tables.open_table(path, self.tasks) as write:
            write(self)

    def save_pictures(self, folder: str | os.PathLike) -> list[str]:
        """Writes a copy of each image file with the found boxes or the mask on it, and returns the new files.

        Args:
            folder: Made if there is none; a picture has the name of its file, with "_<task>" where there are several.

        Raises:
            InputError: If the images were no files, or the tasks' answers have no places in them.
        """
        return pictures_of.save(self, folder)

    def line(self, row: Mapping) -> str:
        """Returns the answers of all tasks for one image in a line, without the image's name."""
        parts = []
        for task in self.tasks:
            prefix = f"{task}: " if len(self.tasks) > 1 else ""
            parts.append(prefix + "   ".join(_shares(self.of_task(row, task))))
        return "   ".join(parts)

    def __repr__(self) -> str:
        names = [_name(row, number) for number, row in enumerate(self)]
        width = max(map(len, names), default=0)
        pairs = zip(names, self, strict=True)
        return "\n".join(f"{name:<{width}}  {self.line(row)}" for name, row in pairs)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        cells = []
        for number, row in enumerate(self[:SHOWN]):
            source = None
            if number < len(self._pictures):
                source = examples.data_uri(self._pictures[number])
            name = document.escape(_name(row, number))
            picture = f'<img src="{source}" alt="{name}" style="height:64px">' if source else ""
            columns = "".join(
                f"<td>{document.escape('   '.join(_shares(self.of_task(row, task))))}</td>"
                for task in self.tasks
            )
            cells.append(f"<tr><td>{picture}</td><td>{name}</td>{columns}</tr>")
        titles = "".join(
            f"<th>{document.escape(title)}</th>" for title in ("", "image", *self.tasks)
        )
        more = f"<p>and {len(self) - SHOWN} more</p>" if len(self) > SHOWN else ""
        return f"<table><tr>{titles}</tr>{''.join(cells)}</table>{more}"


def read_images(model: keras.Model, images: Any, batch_size: int) -> batches.Batches:
    """Returns batches of images as the model takes them; `images` are those of `predict`."""
    shape = model.inputs[0].shape
    if isinstance(images, list | tuple):
        if not images:
            raise checks.error("`images` must have at least one image", given="none")
        if _is_picture(images[0]):
            images = np.concatenate([_resized(image, shape) for image in images])
    elif _is_picture(images):
        images = _resized(images, shape)
    splits = adapt.split(images, name="images", batch_size=batch_size, image_shape=shape)
    part = splits.first("test", "validation", "train")
    if part is None:
        raise checks.error("`images` must have at least one image", given="none")
    return part.check("images", labelled=False)


def _sizes(images: Any) -> list[tuple[int, int]] | None:
    """Returns height and width of pictures that were given one by one; None for files and arrays."""
    pictures = images if isinstance(images, list | tuple) else [images]
    if not pictures or not _is_picture(pictures[0]):
        return None
    return [tuple(np.shape(picture)[:2]) for picture in pictures]


def _compact(model: keras.Model, outputs: Any) -> Any:
    """Returns what is needed of a batch of outputs: boxes and masks are less than what they are chosen from."""
    tasks_by_name = {name: output.task for name, output in marks.outputs(model).items()}
    if isinstance(outputs, Mapping):
        kept = {}
        for name, values in outputs.items():
            task = tasks_by_name.get(name)
            kept[name] = values if task is None else task.compact(values)
        return kept
    if len(tasks_by_name) != 1:
        return outputs
    (task,) = tasks_by_name.values()
    return task.compact(outputs)


def _scale(
    model: keras.Model, sizes: Sequence[tuple[int, int]] | None, index: int, file: str | None
) -> tuple[float, float]:
    """Returns height and width of a picture that was given, as a share of the model's image."""
    taken = model.inputs[0].shape[1:3]
    size = None if sizes is None else sizes[index]
    if file is not None:
        with open(file, "rb") as opened:
            size = headers.size_of(opened.read(HEADER))
    if size is None or None in taken:
        return 1.0, 1.0
    return size[0] / taken[0], size[1] / taken[1]


def _is_picture(value: Any) -> bool:
    """Whether a value is one picture: an array of one, or an image of PIL."""
    is_array = hasattr(value, "__array__") or hasattr(value, "__array_interface__")
    return is_array and np.ndim(value) in (2, 3)


def _resized(image: Any, shape: Any) -> np.ndarray:
    """Returns one picture as a batch of one, in the size and with the channels that the model takes."""
    size = None if None in shape[1:3] else tuple(shape[1:3])
    if getattr(image, "mode", "L") not in ("L", "RGB", "RGBA", "F"):  # PIL's palettes and others
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return pixels.checked(np.asarray(image)[None], size=size, channels=shape[3], name="images")


def _by_name(model: keras.Model, outputs: Any) -> dict[str, np.ndarray]:
    """Returns the outputs by name."""
    layers = marks.outputs(model)
    if not layers:
        outputs = logits.to_probabilities(model, outputs)
    if isinstance(outputs, Mapping):
        return dict(outputs)
    names = list(layers) or model.output_names
    return dict(zip(names, keras.tree.flatten(outputs), strict=True))


def _tasks(model: keras.Model, outputs: Mapping[str, np.ndarray]) -> dict[str, tasks.Task]:
    """Returns the tasks by name."""
    layers = marks.outputs(model)
    found = {}
    for name, values in outputs.items():
        found[name] = layers[name].task if name in layers else _guess(name, values)
    return found


def _guess(name: str, values: np.ndarray) -> tasks.Task:
    """Returns a task for outputs that no task belongs to."""
    if values.ndim != 2:
        expected = f"the output {name!r} must be a vector an image"
        raise checks.error(expected, given=values.shape, fix="Use model.predict.")
    adds_up = np.allclose(values.sum(axis=1), 1, atol=1e-3)
    if values.shape[1] > 1 and adds_up and (values >= 0).all():
        return tasks.Classification(values.shape[1])
    return tasks.Regression(values.shape[1])


def _shares(answer: Mapping) -> list[str]:
    """Returns an answer in words, a part an entry."""
    if "value" in answer:
        return [str(number) for number in np.ravel(answer["value"])]
    probabilities = answer.get("probabilities", {})
    shares = [f"{label} {share:6.1%}" for label, share in probabilities.items()]
    return shares or [answer["label"]]


def _name(row: Mapping, number: int) -> str:
    return row.get("file") or f"image {number}"
