"""`kt.doctor`: runs all checks on images, labels and a model."""

import base64
import dataclasses
import io
import os
import pathlib
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any  # data is whatever `fit` takes, or a folder

import keras
import numpy as np
from PIL import Image

from keras_transfer.core import checks, lookup
from keras_transfer.studies.doctor import CHECKS, base, cases, pictures
from keras_transfer.studies.doctor.findings import Findings

__all__ = ["doctor"]

THUMBNAIL = 112  # pixels of the longer side


def doctor(
    model: Any = None,
    data: Any = None,
    *,
    labels: bool | None = None,
    groups: Sequence | Mapping[str, Sequence] | None = None,
    check: str | Iterable[str] | None = None,
    seed: int = 0,
    verbose: str | int = "auto",
) -> Findings:
    """Looks for problems of images, labels and a model before they cost a training run.

    `kt.doctor(data)` looks at the data alone, `kt.doctor(model, data)` also at whether they fit each other. Each image
    is read once, at a small size; nothing is changed. The checks are those of `kt.studies.CHECKS`: files that cannot
    be read, copies and near copies within and across splits, classes with few images, uneven classes, odd sizes, dark,
    bright, even, blurred and grey images, boxes and masks that cannot be right, ranges of values, missing
    preprocessing, random backbones, labels that a loss cannot take, labels that look wrong, groups such as cameras that
    tell the label, and what training costs.

    Args:
        model: A model or a backbone, as for `kt.fine_tune`; or the data, if that is all.
        data: A folder as for `kt.data.from_folder`, whose files may be broken; data from `kt.data`; or what Keras's
            `fit` takes.
        labels: Whether to look for wrong labels: that takes a pass through a network, the model's own backbone, or
            the bundled "tiny" where the model has none. By default if there is a model, or `check` names it.
        groups: Of each image, such as a camera or a clinic: in the order of the splits train, validation, test, or a
            dict by split.
        check: Name of the check to run, or several; by default all.
        seed: Of all that is drawn.
        verbose: 0 prints nothing, 1 a progress bar after two seconds, 2 one line instead of it; "auto" is 1 on a
            terminal and in a notebook, else 2.

    Returns:
        The findings, errors first: a sequence that prints as a text, `save("x.html")` and `save("x.json")`.

    Raises:
        InputError: If there is nothing to look at.

    Example:
        >>> import keras_transfer as kt
        >>> images = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), np.uint8)
        >>> images[5] = images[4]
        >>> findings = kt.doctor((images, np.arange(24) % 2))
        >>> print(findings)
        1 error in 24 images
        error: 1 group of copies (2 images) under different labels
          images[4], images[5]
          Keep the one with the right label, remove the others.
    """
    begin = time.perf_counter()
    if data is None:
        if model is None or isinstance(model, keras.Model):
            given = "nothing" if model is None else "only a model"
            fix = "Use `kt.doctor(model, data)`, or `kt.doctor(data)`."
            raise checks.error("`data` must be images to look at", given=given, fix=fix)
        model, data = None, model
    elif model is not None and not isinstance(model, keras.Model):
        raise checks.error("`model` must be a Keras model", given=type(model).__name__)
    chosen = [check] if isinstance(check, str) else list(CHECKS if check is None else check)
    for name in chosen:
        lookup.find(name, CHECKS, argument="check")

    settings: dict[str, Any] = {"model": model, "seed": seed, "verbose": verbose}
    is_wanted = model is not None or (check is not None and "labels" in chosen)
    settings["labels"] = is_wanted if labels is None else labels
    case = _make_case(data, settings)
    case = dataclasses.replace(case, groups=_read_groups(groups, case))
    findings = []
    for name in chosen:
        findings += [dataclasses.replace(each, check=name) for each in _run(name, case)]
    about = {
        "data": _describe_data(data),
        "images": len(case.pictures),
        "splits": {split: int((case.splits == split).sum()) for split in _unique(case.splits)},
        "model": None if model is None else model.name,
        "labels": _describe_labels(case),
        "checks": chosen,
        "seconds": round(time.perf_counter() - begin, 1),
        **{name: case.facts[name] for name in ("costs", "groups") if name in case.facts},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of files that were looked at before
        thumbnails = _thumbnails(case, findings)
    return Findings(findings, about, thumbnails)


def _make_case(data: Any, settings: dict[str, Any]) -> base.Case:
    if isinstance(data, (str, os.PathLike)):
        model = settings["model"]
        sides = (base.input_shape(model) or (None,))[:2]
        size = None if None in sides else sides
        return cases.of_folder(pathlib.Path(data), image_size=size, **settings)
    return cases.of_data(data, **settings)


def _read_groups(groups: Any, case: base.Case) -> np.ndarray | None:
    """Returns the group of each picture as text, or None."""
    if groups is None:
        return None
    if isinstance(groups, Mapping):
        parts = [groups[split] for split in _unique(case.splits) if split in groups]
        groups = [group for part in parts for group in part]
    values = np.array([str(group) for group in groups])
    if len(values) != len(case.pictures):
        expected = f"`groups` must have an entry for each of the {len(case.pictures)} images"
        raise checks.error(expected, given=f"{len(values)} entries")
    return values


def _run(name: str, case: base.Case) -> list[base.Finding]:
    """Returns what a check finds; one that cannot work on such input says why."""
    try:
        return list(CHECKS[name](case))
    except checks.InputError as wrong:
        what = str(wrong).removesuffix(wrong.fix).rstrip()
        return [base.Finding("note", f"the check {name!r} could not run: {what}", fix=wrong.fix)]


def _describe_data(data: Any) -> str:
    """Returns the folder, where there is one, else what holds the data."""
    folder = data if isinstance(data, (str, os.PathLike)) else getattr(data, "folder", None)
    return type(data).__name__ if folder is None else str(folder)


def _describe_labels(case: base.Case) -> dict[str, str]:
    """Returns what the labels are, by task."""
    words = {}
    for name, column in case.columns.items():
        classes = f", {len(column.names)} names" if column.names else ""
        words[name or "labels"] = f"{column.kind}{classes}"
    return words


def _unique(values: np.ndarray) -> list[str]:
    return list(dict.fromkeys(values.tolist()))


def _thumbnails(case: base.Case, findings: Sequence[base.Finding]) -> dict[int, str]:
    """Returns small pictures of the images that pages show, as data URIs by number."""
    wanted = {row for each in findings for row in each.rows[: base.SHOWN]}
    wanted -= set(case.pictures.failures)
    shown: dict[int, str] = {}
    own: Mapping[int, Image.Image | None]
    for split in _unique(case.splits):
        rows = np.flatnonzero(case.splits == split)
        part = case.parts.get(split)
        if part is None or part.files is not None:
            own = {row: _open(case.pictures.names[row]) for row in rows.tolist() if row in wanted}
        elif part.rows is not None:  # batches that come in the same order again
            own = pictures.pick(part.read(), rows, wanted)
        else:
            continue
        for row, picture in own.items():
            if picture is not None:
                shown[row] = _data_uri(picture)
    return shown


def _open(name: str) -> Image.Image | None:
    try:
        return pictures.open_small(pathlib.Path(name).read_bytes(), THUMBNAIL)[0]
    except pictures.BROKEN:  # it was readable when it was looked at
        return None


def _data_uri(picture: Image.Image) -> str:
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    kind = "png" if max(picture.size) <= 48 else "jpeg"
    picture.save(buffer, kind, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
