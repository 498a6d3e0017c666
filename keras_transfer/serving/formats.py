"""`kt.export`: one verb, the format by the suffix."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import keras

from keras_transfer.core import checks
from keras_transfer.machine import engine
from keras_transfer.serving import interface, process, saved_model
from keras_transfer.storage import files

__all__ = ["FORMATS", "export"]

# suffix: (what it is, writer); a writer takes the model's interface and a path, and says what it wrote.
WRITE = process.write if engine.is_jax() else saved_model.write
FORMATS = {"": ("a folder, which is a SavedModel", WRITE)}
# What Keras writes itself, by suffix: the model's outputs, so of a detection all candidates.
ELSEWHERE = {
    ".tflite": "Leave out '.tflite', or write what model.predict returns: model.export(path, format='litert').",
    ".onnx": "Leave out '.onnx', or write what model.predict returns: model.export(path, format='onnx').",
}


def export(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    overwrite: bool = False,
    answer_size: str = "picture",
    explain: str | None = None,
) -> pathlib.Path:
    """Writes `model` for use without Keras; decoding, resizing and preprocessing go along.

    A path without suffix becomes a SavedModel folder for TensorFlow Serving, which takes a number as the
    last name. Its signatures: `serving_default` (`image_bytes`: strings of JPEG, PNG, WebP, BMP or GIF bytes
    -> answers), `pixels` (`images`: uint8 of any size -> answers) and `features` (`images` -> `features`, the
    representation shared by all tasks, averaged over places). A model for 1 or 4 channels gets the luminance of
    a file, or its RGB and alpha; where no file holds the channels, `serving_default` takes what `pixels` takes.

    The answers of a classification are `probabilities`, `label` and `classes` (best first), of a regression
    `value`, of a detection `boxes`, `scores`, `classes` and `count`, of masks, depths and pictures `mask`, `depth` and
    `picture`; `mask_png` and `picture_png` are the bytes of PNG files. With several tasks each key is prefixed `task/`.
    Maps of files of different sizes in one request are as large as the largest picture: around a smaller one a mask is
    255, a depth 0 and a picture black; PNG files have the size of their picture. A plain Keras model answers with its
    outputs by name, and with `probabilities` in the place of logits where its compiled loss says that they are logits.
    Labels, versions and a warm-up request for TensorFlow Serving lie in the folder.

    `path` appears when it is complete. `model` stays as it is. Under JAX a process with Keras on TensorFlow writes it.

    Args:
        model: From `build_model`, or any functional or sequential model with one image input.
        path: Where to write; the suffix is the format.
        overwrite: Whether to replace an earlier export at `path`.
        answer_size: Whether boxes, masks, depths and pictures are answered in pixels of the "picture" that was given,
            or of the "model"'s image, which is less to send.
        explain: "gradcam" or another method of one pass of `kt.explain`, for one more signature, `explain` (`images`
            -> `map` in pixels of the model's image, `target`, the answer that it is a map of, and its `evidence`).

    Returns:
        `path`.

    Raises:
        InputError: If the model cannot be exported, or `path` cannot be written.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(["cat", "dog"]))
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +ELLIPSIS
        ...     export(model, f"{folder}/pets/1").name
        keras_transfer: exported /.../pets/1: SavedModel with serving_default, pixels, features (... MB)
        '1'
    """
    face = interface.Interface.of(model, answer_size=answer_size, explain=explain)
    if "://" in os.fspath(path):
        raise checks.error(
            "`path` must be on a local disk", given=repr(path), fix="Export, then copy."
        )
    target = pathlib.Path(path)
    if target.suffix not in FORMATS:
        known = " or ".join(meaning for meaning, _ in FORMATS.values())
        raise checks.error(
            f"`path` must be in a format that kt.export writes: {known}",
            given=repr(str(path)),
            fix=ELSEWHERE.get(target.suffix, f"Leave out {target.suffix!r}."),
        )
    _check_target(target, overwrite=overwrite)
    files.check_writable(target.parent, argument="path's parent")
    _, write = FORMATS[target.suffix]
    with _replacing(target) as temporary:
        what = write(face, temporary)
        size = sum(
            file.stat().st_size for file in (temporary, *temporary.rglob("*")) if file.is_file()
        )
    checks.note(f"exported {target}: {what} ({size / 1e6:.1f} MB)")
    return target


def _check_target(target: pathlib.Path, *, overwrite: bool) -> None:
    if not (target.is_symlink() or target.exists()):
        return
    if not overwrite:
        raise checks.error(
            "`path` must not exist",
            given=repr(str(target)),
            fix="Choose the next version, or set `overwrite=True`.",
        )
    if not (target / "saved_model.pb").is_file():
        raise checks.error(
            "`overwrite` replaces an earlier export only", given=f"{str(target)!r}, which is none"
        )


@contextlib.contextmanager
def _replacing(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a path beside `target`; what is written there takes `target`'s place when the block ends well."""
    # A hidden name: TensorFlow Serving, which may watch the parent folder, looks at numbers only.
    workshop = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    temporary, previous = workshop / target.name, workshop / "previous"
    try:
        yield temporary
        if target.exists():
            os.rename(target, previous)
        try:
            os.rename(temporary, target)
        except OSError:
            if previous.exists():
                os.rename(previous, target)
            raise
    finally:
        shutil.rmtree(workshop)
