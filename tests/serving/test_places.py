"""Exports of boxes, masks, depths and pictures answer in pixels of the picture that was given, as `kt.predict` does."""

import io
import subprocess
import sys

import keras
import networks
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_transfer as kt

pytestmark = pytest.mark.compiled

CLIENT = """
import pathlib, sys
import numpy as np, tensorflow as tf
folder, pictures, out = sys.argv[1:]
loaded = tf.saved_model.load(folder)
files = [path.read_bytes() for path in sorted(pathlib.Path(pictures).iterdir())]
answers = loaded.signatures["serving_default"](image_bytes=tf.constant(files))
arrays = {}
for key, value in answers.items():
    array = value.numpy()
    arrays[key] = np.array([each.hex() for each in array.ravel()]) if array.dtype == object else array
np.savez(out, ours=[name for name in sys.modules if name.startswith("keras_transfer")], **arrays)
"""


@pytest.fixture(scope="module")
def model():
    """With boxes that are sure enough to be answers, at random places."""
    keras.utils.set_random_seed(0)
    tasks = {
        "boxes": kt.tasks.Detection(["cat", "dog"], width=8, depth=1, bins=4),
        "mask": kt.tasks.Segmentation(["ground", "sky", "tree"], width=8),
        "depth": kt.tasks.Depth(width=4),
        "clean": kt.tasks.ImageToImage(width=4),
    }
    made = kt.build_model(networks.small(), tasks, seed=0)
    for name, bias in (("boxes_logits", -1.0), ("mask_logits", 0.0)):
        layer = made.get_layer(name)
        kernel = np.random.default_rng(0).normal(0, 0.3, layer.kernel.shape)
        layer.set_weights([kernel, np.full(layer.bias.shape, bias)])
    return made


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return kt.export(model, tmp_path_factory.mktemp("places") / "1")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """50 JPEG files of odd sizes."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for number in range(50):
        height, width = rng.integers(17, 90, 2)
        blocks = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(blocks).resize((int(width), int(height)))
        picture.save(folder / f"{number:02}.jpg", quality=90)
    return folder


def test_a_process_with_tensorflow_only_answers_bytes_of_odd_sized_pictures(
    model, exported, files, tmp_path
):
    command = [sys.executable, "-I", "-c", CLIENT, str(exported), str(files), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    answers = np.load(tmp_path / "out.npz")
    assert answers["ours"].size == 0

    paths = sorted(files.iterdir())
    expected = kt.predict(model, paths, verbose=0)
    detection = model.get_layer("boxes").task
    found = detection.find(expected.outputs["boxes"])
    classes = answers["boxes/classes"].reshape(50, -1)
    for row, path in enumerate(paths):
        with Image.open(path) as picture:
            width, height = picture.size

        kept = found[row][found[row][:, 4] >= 0]
        assert answers["boxes/count"][row] == len(kept) > 0
        boxes = kept[:, :4] * np.array([width, height, width, height]) / 32
        gap = detection.differences(
            "boxes", boxes[None], answers["boxes/boxes"][row][None, : len(kept)]
        )
        assert gap < 0.5
        np.testing.assert_allclose(answers["boxes/scores"][row][: len(kept)], kept[:, 6], atol=1e-4)
        names = [bytes.fromhex(name).decode() for name in classes[row][: len(kept)]]
        assert sorted(names) == sorted(detection.class_names[int(at)] for at in kept[:, 4])

        mask = answers["mask/mask"][row]
        assert (mask[:height, :width] != expected[row]["mask"]["mask"]).mean() < 1e-3
        assert (mask[height:] == 255).all()
        assert (mask[:, width:] == 255).all()
        depths = answers["depth/depth"][row]
        np.testing.assert_allclose(
            depths[:height, :width], expected[row]["depth"]["depth"], rtol=1e-4
        )
        assert (depths[height:] == 0).all()
        gaps = answers["clean/picture"][row][:height, :width].astype(int)
        assert np.abs(gaps - expected[row]["clean"]["picture"]).max() <= 1

        for key, values in (("mask/mask", mask), ("clean/picture", answers["clean/picture"][row])):
            file = io.BytesIO(bytes.fromhex(str(answers[f"{key}_png"][row])))
            np.testing.assert_array_equal(np.asarray(Image.open(file)), values[:height, :width])


def test_all_signatures_answer_as_keras(model, exported, files):
    kt.verify(exported, model, [str(path) for path in sorted(files.iterdir())[:4]])
    kt.verify(exported, model)


def test_answers_may_stay_in_the_models_size(tmp_path):
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, padding="same", name="conv")(image)
    backbone = kt.backbone(keras.Model(image, x), preprocess="tf")
    model = kt.build_model(backbone, kt.tasks.Segmentation(2, width=4))
    path = kt.export(model, tmp_path / "1", answer_size="model")
    loaded = tf.saved_model.load(str(path))
    answers = loaded.signatures["pixels"](images=np.zeros((2, 50, 40, 3), "uint8"))
    assert answers["mask"].shape == (2, 32, 32)
    assert tf.io.decode_png(answers["mask_png"][0]).shape == (32, 32, 1)
    kt.verify(path, model)
    with pytest.raises(kt.InputError, match="`answer_size` must be one of"):
        kt.export(model, tmp_path / "2", answer_size="big")


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_a_mobile_file_of_a_detector_is_refused_and_that_of_keras_is_equal(tmp_path):
    task = kt.tasks.Detection(["cat", "dog"], width=8, depth=1, bins=4)
    model = kt.build_model(networks.small(), task, seed=0)
    file = str(tmp_path / "detector.tflite")
    with pytest.raises(kt.InputError, match="model.export.path, format='litert'.") as refused:
        kt.export(model, file)
    assert "\n" not in str(refused.value)

    model.export(file, format="litert", verbose=False)
    interpreter = tf.lite.Interpreter(file)
    interpreter.allocate_tensors()
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
    interpreter.invoke()
    candidates = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(candidates, model.predict(pixels, verbose=0), atol=1e-4)
