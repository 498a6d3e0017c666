"""Videos with the model's answers drawn on every frame."""

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_transfer.core import checks, optional
from keras_transfer.data import pixels
from keras_transfer.layers import marks
from keras_transfer.machine import engine, progress

__all__ = ["predict_video"]


def predict_video(
    model: keras.Model,
    source: str | os.PathLike,
    path: str | os.PathLike,
    *,
    batch_size: int = 8,
    verbose: str | int = "auto",
) -> int:
    """Writes a copy of a video with the answers of the model drawn on every frame: boxes, masks, depths or pictures.

    Each frame is answered by itself; nothing is tracked from one to the next. It needs the extra `video`.

    Args:
        model: From `kt.build_model`, with a task whose answers have places in the image.
        source: Any video that ffmpeg reads.
        path: The new file, such as "out.mp4"; it has the size and speed of the source, and no sound.
        batch_size: Frames that are answered at a time.
        verbose: As for `kt.predict`.

    Returns:
        How many frames there are.

    Raises:
        InputError: If the source cannot be read, or no task of the model draws.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Segmentation(2, width=8))
        >>> predict_video(model, "absent.mp4", "out.mp4")
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `source` must be a video file that exists. Given: 'absent.mp4'.
    """
    checks.integer(batch_size, name="batch_size")
    file, target = pathlib.Path(source), pathlib.Path(path)
    if not file.is_file():
        raise checks.error("`source` must be a video file that exists", given=repr(str(source)))
    if target.exists() and target.samefile(file):
        raise checks.error("`path` must be another file than `source`", given=repr(str(path)))
    drawers = {name: output.task for name, output in marks.outputs(model).items()}
    if not any(task.levels for task in drawers.values()):
        given = ", ".join(task.kind for task in drawers.values()) or "no task"
        raise checks.error("`model` must have a task with boxes or a value a pixel", given=given)
    ffmpeg: Any = optional.require("imageio_ffmpeg", extra="video", purpose="predict_video")

    frames, facts = _frames(ffmpeg, file)
    size = tuple(facts["size"])  # width, height
    writer = ffmpeg.write_frames(str(target), size, fps=facts["fps"], macro_block_size=1)
    writer.send(None)
    count = 0
    total = round(facts["duration"] * facts["fps"]) or None
    shown = progress.Progress(f"Drawing {file.name}", total=total, verbose=verbose, unit="frame")
    try:
        for batch in _batches(frames, size, batch_size):
            for frame in _draw(model, drawers, batch):
                writer.send(np.ascontiguousarray(frame))
                count += 1
                shown.add()
    finally:
        writer.close()
        frames.close()
        shown.finish()
    return count


def _frames(ffmpeg: Any, file: pathlib.Path) -> tuple[Any, dict]:
    """Returns the frames as bytes, and what is known of the video."""
    frames = ffmpeg.read_frames(str(file))
    try:
        facts = next(frames)
    except (OSError, RuntimeError, StopIteration) as problem:
        reason = checks.first_line(problem) or "no frames"
        given = f"{str(file)!r} ({reason})"
        raise checks.error("`source` must be a video that can be read", given=given) from problem
    return frames, facts


def _batches(frames: Any, size: tuple[int, ...], batch_size: int) -> Iterator[np.ndarray]:
    """Yields the frames as uint8 RGB, some at a time."""
    waiting = []
    for content in frames:
        waiting.append(np.frombuffer(content, "uint8").reshape(size[1], size[0], 3))
        if len(waiting) == batch_size:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)


def _draw(model: keras.Model, drawers: dict, frames: np.ndarray) -> np.ndarray:
    """Returns the frames with the answers of all tasks on them."""
    shape = model.inputs[0].shape
    taken = pixels.checked(frames, size=tuple(shape[1:3]), channels=shape[3], name="source")
    outputs = engine.predict_on_batch(model, taken)
    by_name = outputs if isinstance(outputs, dict) else {next(iter(drawers)): outputs}
    drawn = []
    for index, frame in enumerate(frames):
        picture = frame
        for name, task in drawers.items():
            answer = task.draw(picture, by_name[name][index], image_size=tuple(shape[1:3]))
            picture = picture if answer is None else answer
        drawn.append(picture)
    return np.stack(drawn)
