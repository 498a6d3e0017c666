"""What data hold, in words: a table of classes and splits, and one line."""

import base64
import html
from collections.abc import Mapping
from typing import Any  # a `Data`, which shows itself by this

import numpy as np
import tensorflow as tf

from keras_transfer.core import labelled
from keras_transfer.data import pipeline
from keras_transfer.data.targets import encoding

__all__ = ["as_html", "one_line", "summary"]


def summary(data: Any) -> str:
    """Returns a table of what each split holds."""
    names = data.class_names
    first = next(iter(data.targets.values()))
    lines = []
    if isinstance(first, Mapping):
        for key in first:
            columns = {split: targets[key] for split, targets in data.targets.items()}
            own_names = (names or {}).get(key)
            lines += _table(columns, own_names, data.weights, title=key)
    else:
        lines = _table(data.targets, names, data.weights, title="class" if names else "number")
    height, width = data.image_size
    where = "decoded once and kept in memory" if data.is_cached else "decoded in every pass"
    planes = ""
    if data.channels != 3:
        planes = f" of {data.channels} channel{'s' if data.channels > 1 else ''}"
    size = f"{height} x {width} pixels{planes}"
    end = f"{size}, batches of {data.batch_size}, seed {data.seed}, {where}"
    return "\n".join([*lines, end])


def as_html(data: Any) -> str:
    """Returns the table and a sheet of images, for notebooks."""
    split = next(iter(data.examples))
    picture = base64.b64encode(data.show(split, count=8)._repr_png_()).decode()
    text = html.escape(summary(data))
    return f'<pre>{text}</pre><img src="data:image/png;base64,{picture}" alt="Images of {split}">'


def one_line(data: Any) -> str:
    """Returns the sizes of the splits and of what is in them."""
    parts = [f"{split}={len(examples)}" for split, examples in data.examples.items()]
    if isinstance(data.class_names, dict):
        parts += [f"{key}={len(names)} classes" for key, names in data.class_names.items()]
    elif data.class_names is not None:
        parts.append(f"classes={len(data.class_names)}")
    if data.weights is not None:
        missing = sum(int((part == 0).sum()) for part in tf.nest.flatten(data.weights))
        parts.append(f"missing={missing}")
    parts.append(f"image_size={data.image_size[0]}x{data.image_size[1]}")
    if data.channels != 3:
        parts.append(f"channels={data.channels}")
    parts.append(f"batch_size={data.batch_size}")
    return f"Data({', '.join(parts)})"


def _table(
    columns: Mapping[str, np.ndarray],
    names: list[str] | None,
    weights: Mapping[str, pipeline.Columns] | None,
    *,
    title: str,
) -> list[str]:
    """Returns the lines of a table with a column a split; `title` is the name of the target, if it has one."""
    known, missing = [], ["missing"]
    for split, values in columns.items():
        own = labelled.of_task(weights and weights[split], title)
        known.append(labelled.known(values, own))
        missing.append("0" if own is None else str(int((own == 0).sum())))

    rows = [[title, *columns], *encoding.kind_of(known[0], names).tabulate(known, names)]
    if weights is not None:
        rows.append(missing)
    rows.append(["all", *(str(len(values)) for values in columns.values())])

    lines = [""] * len(rows)
    for number, column in enumerate(zip(*rows, strict=True)):
        width = max(map(len, column))
        for row, cell in enumerate(column):
            lines[row] += f"  {cell:>{width}}" if number else f"{cell:<{width}}"
    return lines
