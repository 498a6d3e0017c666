"""Boxes drawn on the frames of a video."""

import keras
import numpy as np
import pytest

import keras_transfer as kt

ffmpeg = pytest.importorskip("imageio_ffmpeg")
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning"
)  # its pipes to ffmpeg


def build():
    """A model that finds one box in the left upper quarter of every frame."""
    row = np.array([[[0, 0, 16, 16, 0, 0, 8, 0.9]]], "float32")
    image = keras.Input((32, 32, 3))
    nothing = keras.ops.mean(image, axis=(1, 2, 3))[:, None, None] * 0
    task = kt.tasks.Detection(["thing"], threshold=0.3)
    answer = kt.layers.TaskOutput(task, name="detection")(keras.ops.add(nothing, row))
    return keras.Model(image, answer)


def test_every_frame_has_the_box_where_it_is(tmp_path):
    writer = ffmpeg.write_frames(str(tmp_path / "in.mp4"), (96, 64), fps=5)
    writer.send(None)
    for brightness in range(11):
        writer.send(np.full((64, 96, 3), 20 * brightness, "uint8"))
    writer.close()

    count = kt.predict_video(build(), tmp_path / "in.mp4", tmp_path / "out.mp4", batch_size=4)
    assert count == 11
    frames = ffmpeg.read_frames(str(tmp_path / "out.mp4"))
    facts = next(frames)
    assert (tuple(facts["size"]), facts["fps"]) == ((96, 64), 5)
    pictures = [np.frombuffer(frame, "uint8").reshape(64, 96, 3).astype(int) for frame in frames]
    assert len(pictures) == 11
    for number, picture in enumerate(pictures):
        assert abs(picture[40:, 60:].mean() - 20 * number) < 8  # nothing is drawn there
        side = picture[28:34, 10:28]  # around the lower side of the box
        assert abs(side - 20 * number).max() > 30


def test_bad_input(tmp_path):
    (tmp_path / "no.mp4").write_bytes(b"not a video")
    with pytest.raises(kt.InputError, match="can be read"):
        kt.predict_video(build(), tmp_path / "no.mp4", tmp_path / "out.mp4")
    with pytest.raises(kt.InputError, match="another file"):
        kt.predict_video(build(), tmp_path / "no.mp4", tmp_path / "no.mp4")
    plain = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))
    with pytest.raises(kt.InputError, match="boxes or a value a pixel"):
        kt.predict_video(plain, tmp_path / "no.mp4", tmp_path / "out.mp4")
