"""What TensorBoard shows of a run beside its curves: the pictures of the report, and the projector's points."""

import io
import os
import pathlib
import tempfile
from typing import Any  # data of every kind that `kt.evaluate` takes

import keras
import numpy as np
from PIL import Image

from keras_transfer.core import optional
from keras_transfer.evaluation import report as reports
from keras_transfer.evaluation.representation import looking
from keras_transfer.pages import sprite
from keras_transfer.storage import files

__all__ = ["write_board"]

POINTS = 2000  # images in the projector: it draws more of them slowly
SPRITE = 48  # pixels of a picture in it
CONFIG = """embeddings {{
  tensor_name: "features of {name}"
  tensor_path: "features.tsv"
  metadata_path: "labels.tsv"
  sprite {{ image_path: "sprite.png" single_image_dim: {side} single_image_dim: {side} }}
}}
"""


def write_board(
    folder: str | os.PathLike, model: keras.Model, data: Any, report: reports.Report
) -> list[str]:
    """Writes the pictures of a report, and features with labels and thumbnails for the projector, for TensorBoard.

    `kt.fine_tune(..., tensorboard=True)` writes the curves into the folder `tensorboard` of the run; with this in the
    same folder, `tensorboard --logdir` shows everything.

    Args:
        folder: Where to; it is made if needed.
        model: What was measured.
        data: What it was measured on: at most 2,000 of its images become points.
        report: Of `kt.evaluate`.

    Returns:
        The names of the pictures.

    Raises:
        MissingExtraError: If TensorBoard is not installed.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.glyphs(3, 8, test=0.5)
        >>> model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(data.class_names))
        >>> report = kt.evaluate(model, data, verbose=0)
        >>> write_board("/tmp/doc_example_board", model, data, report)[0]
        'confusion.png'
    """
    optional.require("tensorboard", extra="tensorboard", purpose="`write_board`")
    root = files.check_writable(folder, argument="folder")
    names = _write_pictures(root, report)
    _write_points(
        root, model.name, looking.look({"": model}, data, most=POINTS, side=SPRITE, verbose=0)
    )
    return names


def _write_pictures(root: pathlib.Path, report: reports.Report) -> list[str]:
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(root))
    with tempfile.TemporaryDirectory() as temporary, writer.as_default():
        names = report.save_pictures(temporary)
        for name in names:
            with Image.open(pathlib.Path(temporary) / name) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            tf.summary.image(pathlib.Path(name).stem, pixels[None], step=0)
    writer.close()
    return names


def _write_points(root: pathlib.Path, name: str, seen: looking.Look) -> None:
    """Writes features, labels and a sheet of thumbnails as the projector reads them."""
    features = io.StringIO()
    np.savetxt(features, seen.joined(""), fmt="%.5g", delimiter="\t")
    files.write_text(root / "features.tsv", features.getvalue())
    lines = ["label\timage"]
    for number in range(len(seen.indices)):
        cells = seen.label(number), seen.name(number)
        lines.append("\t".join(" ".join(cell.split()) for cell in cells))
    files.write_text(root / "labels.tsv", "\n".join(lines) + "\n")
    with files.replacing(root / "sprite.png") as temporary:
        _join(seen.thumbnails).save(temporary)
    text = CONFIG.format(name=name.replace('"', "'").replace("\\", "/"), side=SPRITE)
    files.write_text(root / "projector_config.pbtxt", text)


def _join(thumbnails: list[np.ndarray | None]) -> Image.Image:
    """Returns all thumbnails in one picture, each stretched to a square."""
    squares: list[np.ndarray | None] = []
    for thumbnail in thumbnails:
        square = thumbnail
        if thumbnail is not None:
            square = np.asarray(Image.fromarray(thumbnail).resize((SPRITE, SPRITE)))
        squares.append(square)
    sheet, _ = sprite.join(squares, side=SPRITE)
    return Image.fromarray(sheet)
