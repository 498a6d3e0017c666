"""Images and targets that a table names: CSV and Parquet files, pandas frames, lists of dicts."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any  # a table may be of any type, and so may its cells

import numpy as np

from keras_transfer.core import checks
from keras_transfer.data import base
from keras_transfer.data.sources import (
    file_data,
    file_names,
    reading,
    sensors,
    table_files,
    table_targets,
)
from keras_transfer.data.sources.problems import Problems
from keras_transfer.data.sources.table_files import Table
from keras_transfer.data.sources.table_targets import Target
from keras_transfer.storage import listing

__all__ = ["from_csv"]


def from_csv(
    table: Any,
    *,
    image: str | Sequence[str],
    targets: Mapping[str, str | Mapping[str, Any]],
    root: str | os.PathLike | None = None,
    split: str | None = None,
    group: str | None = None,
    test: float | None = None,
    validation: float | None = reading.VALIDATION,
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    value_range: Any = None,
    batch_size: int = 32,
    seed: int = 0,
    corrupt: str = "error",
    cache: str = "auto",
) -> base.Data:
    """Reads the images that a table names, and what its columns say about them.

    A blank cell is a missing label: the image trains the other targets only. A target is the column of its own name,
    and its kind says how cells are read; or it is a dict of its kind, the columns it is read from, and options:

    - `"category"`: a name. `{"category": "species", "classes": ["cat", "dog"]}` also orders the classes.
    - `"number"`: a number. `{"number": ["x", "y"]}` makes a vector of several columns.
    - `"tags"`: `red;round`, and a lone `;` for no tags. `{"tags": "marks", "separator": "|"}`, and `"classes"`.
    - `"boxes"`: JSON, four numbers or a list of those. `{"boxes": ["xmin", "ymin", "xmax", "ymax"], "label": "name"}`
      reads columns: the rows of one image are its boxes.
    - `"mask"`: the name of a file. `{"mask": "masks/{id}.png", "classes": {"pet": 1, "border": 3}, "ignored": 0}` makes
      it of columns and says what values mean, as for `kt.data.from_masks`.
    - `"image"`: the name of a file. `{"image": "depth/{id}.png"}`.

    Boxes are in pixels of the picture's file. Further options are `"form"` ("xyxy", "xywh" or "centre"), `"relative":
    True` for shares of the picture's sides, and `"ignored"`, a column that says which boxes count neither as found nor
    as missed. Where all four cells are blank the label is missing; `"blank": "none"` says that no object is there.
    Boxes without area are left out.

    Args:
        table: A CSV file, of any usual encoding and separator; a Parquet file (the extra `tables`); a pandas frame; a
            list of dicts.
        image: The column with the names of the image files, or a pattern of columns such as `"photos/{id}.jpg"`; or a
            list of several, such as `["rgb", "depth"]`, whose files are put together as the channels of one image.
        targets: Name of each target to its kind, or to a dict as above.
        root: The folder that names of files start from and must not leave; by default the table's own.
        split: The column that says "train", "validation" or "test"; the shares are not used then, but for a validation
            share of the training images if it says no "validation".
        group: The column of groups, such as patients, whose images must stay in one split.
        test: Share of the images to hold out for testing.
        validation: Share of the images to hold out for validation.
        image_size: As for `kt.data.from_folder`.
        channels: As for `kt.data.from_folder`.
        value_range: For 16 bit PNG, TIFF, .npy and lists of columns: the lowest and the highest value, which become 0
            and 255, such as `(0, 65535)`, or a dict of these by column; or "measure", as for columns that are left
            out, which takes the lowest and the highest value of all files and says so. Values of 8 bits stay. Images
            are then float32 and in memory, with as many channels as the files have (`kt.backbone(..., channels=4)`).
            `kt.data.load_stacks` reads other files in the same way; a served model takes 0..255, so whoever calls it
            scales values likewise: `255 * (value - lowest) / (highest - lowest)`.
        batch_size: Images in a batch.
        seed: Equal seeds give equal splits and orders.
        corrupt: "error" refuses tables with bad rows and files that cannot be read, and names them; "skip" leaves out
            the images of these rows.
        cache: As for `kt.data.from_folder`.

    Returns:
        The batches, with a dict of targets; class names and all that was decided.

    Raises:
        InputError: If the table has no such columns, or rows are bad: files that do not exist or lie outside of `root`,
            numbers that are none, two rows for one image, a group in two splits.

    Example:
        >>> import pathlib, tempfile
        >>> import tensorflow as tf
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for number in range(3):
        ...     pixels = np.full((9, 9, 3), 50 * number, np.uint8)
        ...     _ = (root / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        >>> rows = [("file", "breed", "age"), ("0.png", "cat", "2"), ("1.png", "dog", ""), ("2.png", "cat", "4")]
        >>> _ = (root / "labels.csv").write_text(chr(10).join(map(",".join, rows)))
        >>> from_csv(root / "labels.csv", image="file", targets={"breed": "category", "age": "number"}, image_size=8)
        keras_transfer: 3 images are resized to 8x8 pixels and kept in memory (0.0 MB)
        keras_transfer: 1 of 3 age labels are missing: they count neither in losses nor in metrics
        Data(train=2, validation=1, breed=2 classes, missing=1, image_size=8x8, batch_size=32)
    """
    options = reading.Options(image_size, channels, batch_size, seed, corrupt, cache, value_range)
    content = table_files.read_table(table)
    bands = [image] if isinstance(image, str) or not isinstance(image, Sequence) else list(image)
    if not bands:
        raise checks.error("`image` must name a column", given=repr(image))
    for band in bands:
        file_names.check_pattern(band, content, argument="image")
    sensors.check_range(value_range, bands)
    found = table_targets.read_targets(targets, content)
    for name, argument in ((split, "split"), (group, "group")):
        if name is not None:
            content.column(name, argument=argument)
    folder = _root_of(root, content)

    problems = Problems()
    problems.update(content.problems.items())
    images = _Images(content, bands, folder, problems)
    images.group(found, [name for name in (split, group) if name is not None])
    listed = _list(images, found, split, group)
    notes = content.notes + problems.settle(corrupt, what="row", where=content.name)

    if "train" not in listed.splits:
        given = f"none in the column {split!r}" if len(listed.splits) else "none that is whole"
        raise checks.error("`table` must have rows to train on", given=given)
    class_names = _class_names(found, listed.labels)
    if options.value_range is None and any(map(sensors.is_other, listed.paths)):
        options = dataclasses.replace(options, value_range=sensors.MEASURE)
    held = {"test": test, "validation": validation}
    return file_data.load(
        listed, options, held, class_names=class_names, notes=notes, folder=folder
    )


def _root_of(root: str | os.PathLike | None, table: Table) -> Path:
    if root is not None:
        return listing.folder_of(root, "root")
    return Path.cwd() if table.folder is None else table.folder


class _Images:
    """The images of a table.

    Attributes:
        paths: The file of each.
        rows: The rows that tell about each.
        bands: The column or pattern of each file whose channels are put together; one as a rule.
    """

    def __init__(self, table: Table, bands: Sequence[str], root: Path, problems: Problems) -> None:
        self.table, self.root, self.problems = table, root, problems
        self.bands = list(bands)
        every = range(len(table))
        self.names = file_names.names_of(bands[0], table, every)
        columns = []
        for number, band in enumerate(bands):
            names = file_names.names_of(band, table, every)
            for place, name in zip(table.places, names, strict=True):
                if name is None:
                    what = "image" if number == 0 else f"{band} file"
                    problems.add(place, f"the name of the {what} is blank")
            columns.append(file_names.find(band, table, every, root, problems))
        self.files, self.others = columns[0], columns[1:]
        self.paths: list[Path] = []
        self.rows: list[list[int]] = []

    def group(self, targets: Sequence[Target], others: Sequence[str]) -> None:
        """Brings the rows of each image together; rows that must not be more than one are problems."""
        by_file: dict[str, list[int]] = {}
        for row, path in enumerate(self.files):
            if path is not None:
                rows = by_file.setdefault(os.path.abspath(path), [])
                self.paths += [] if rows else [path]
                rows.append(row)
        is_repeated = any(target.is_repeated for target in targets)
        same = self._columns_that_agree(targets, others)
        for rows in by_file.values():
            for row in rows[1:]:
                self._compare(rows[0], row, same if is_repeated else None)
        self.rows = list(by_file.values())

    @property
    def stacks(self) -> list[tuple[Any, ...]] | None:
        """All files of each image; None where each has one."""
        if not self.others:
            return None
        stacks = []
        for path, rows in zip(self.paths, self.rows, strict=True):
            stacks.append((path, *(column[rows[0]] for column in self.others)))
        return stacks

    def _columns_that_agree(self, targets: Sequence[Target], others: Sequence[str]) -> list[str]:
        """Returns the columns whose cells must be equal in all rows of an image."""
        columns = list(others)
        for target in targets:
            names = [target.columns] if isinstance(target.columns, str) else target.columns
            if not target.is_repeated:
                columns += [name for name in names if name in self.table.columns]
        return columns

    def _compare(self, first: int, row: int, same: list[str] | None) -> None:
        place, earlier = self.table.places[row], self.table.places[first]
        if same is None:
            self.problems.add(place, f"the same image as in {earlier}")
            return
        for name in same:
            cells = self.table.columns[name]
            one, other = table_targets.text_of(cells[first]), table_targets.text_of(cells[row])
            if one != other:
                self.problems.add(place, f"{name} {other!r}, but {one!r} in {earlier}")

    def drop_bad(self) -> np.ndarray:
        """Returns the numbers of the images none of whose rows is a problem."""
        places = self.table.places
        whole = []
        for image, rows in enumerate(self.rows):
            if not any(places[row] in self.problems for row in rows):
                whole.append(image)
        return np.array(whole, np.int64)


def _list(
    images: _Images, targets: Sequence[Target], split: str | None, group: str | None
) -> reading.Listed:
    """Reads the labels of all images; what cannot be read is a problem of its row."""
    table, problems = images.table, images.problems
    labels, in_shares = {}, []
    for target in targets:
        labels[target.name] = table_targets.read_column(
            target, table, images.rows, images.root, problems
        )
        if target.options.get("relative"):
            in_shares.append(target.name)
    first = [rows[0] for rows in images.rows]
    names = [str(images.names[row]) for row in first]
    shown = [f"{name} ({table.places[row]})" for name, row in zip(names, first, strict=True)]
    listed = reading.Listed(
        where=table.name,
        paths=images.paths,
        names=names,
        labels=labels,
        stacks=images.stacks,
        bands=tuple(images.bands),
        splits=np.array([_split_of_row(table, row, split, problems) for row in first]),
        shown=shown,
        groups=None if group is None else [table.columns[group][row] for row in first],
        kinds={target.name: target.kind for target in targets},
        in_shares=tuple(in_shares),
        ignored={
            target.name: target.options.get("ignored", 255)
            for target in targets
            if target.kind == "mask"
        },
    )
    return listed.pick(images.drop_bad())


def _split_of_row(table: Table, row: int, column: str | None, problems: Problems) -> str:
    if column is None:
        return "train"
    text = table_targets.text_of(table.columns[column][row])
    found = None if text is None else listing.split_of(text)
    if found is None:
        known = "train, validation or test"
        problems.add(table.places[row], f"{column} is {text!r}, not {known}")
        return "train"
    return found


def _class_names(
    targets: Sequence[Target], labels: Mapping[str, Sequence]
) -> dict[str, Any] | None:
    """Returns the names of classes that the user chose, and of those that are whole numbers in their order."""
    names: dict[str, Any] = {}
    for target in targets:
        if "classes" in target.options:
            names[target.name] = target.options["classes"]
        elif target.kind == "category":
            found = {label for label in labels[target.name] if label is not None}
            if len(found) > 1 and all(label.isdecimal() for label in found):
                names[target.name] = sorted(found, key=lambda label: (int(label), label))
    return names or None
