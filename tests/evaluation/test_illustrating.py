"""The parts of a report that look at the network, and what TensorBoard is given of them."""

import keras
import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt

NAMES = ["cat", "<b>dog", "owl"]


@pytest.fixture(scope="module")
def measured():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 32, 32, 3)).astype("uint8")
    labels = np.arange(24) % 3
    data = kt.data.from_arrays(images, np.array(NAMES)[labels], validation=None, test=0.5)
    backbone = kt.backbone("tiny", weights=None)
    model = kt.build_model(backbone, kt.tasks.Classification(data.class_names), seed=0)
    return model, data, kt.evaluate(model, data, explain="gradcam", verbose=0)


def test_the_map_and_the_nearest_images_of_mistakes_join_the_page(measured):
    model, data, report = measured
    kt.evaluation.illustrate(report, model, data, before=kt.backbone("tiny"), verbose=0)
    page = report.to_html()
    headings = [part.partition("<")[0] for part in page.split("<h2>")[1:]]
    assert headings[:4] == ["Answer", "Results", "Map", "Training images like the first mistakes"]
    assert page.count("</canvas></figure>") == 2  # before training, and now
    assert "<b>" not in page

    undivided = kt.evaluate(model, data.test, explain="gradcam", verbose=0)
    kt.evaluation.illustrate(undivided, model, data.test, verbose=0)
    assert "Training images like" not in undivided.to_html()

    images = report.mistake_images[""]
    assert list(images) == [mistake["index"] for mistake in report["mistakes"]]
    test_images = np.concatenate([batch[0] for batch in data.test])
    for index, image in images.items():
        np.testing.assert_array_equal(image, test_images[index])


def test_tensorboard_gets_pictures_and_points(measured, tmp_path):
    from google.protobuf import text_format
    from tensorboard.plugins.projector import projector_config_pb2

    model, data, report = measured
    written = kt.evaluation.write_board(tmp_path, model, data, report)
    assert written == report.save_pictures(tmp_path / "pictures")
    text = (tmp_path / "projector_config.pbtxt").read_text()
    config = text_format.Parse(text, projector_config_pb2.ProjectorConfig())
    (points,) = config.embeddings

    features = np.loadtxt(tmp_path / points.tensor_path, delimiter="\t")
    images = np.concatenate([batch[0] for batch in data.test])
    expected = keras.Model(model.input, model.get_layer("classification_pool").output)(images)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)

    labels = (tmp_path / points.metadata_path).read_text().splitlines()
    assert labels[0] == "label\timage"
    truth = np.concatenate([batch[1] for batch in data.test])
    assert [line.partition("\t")[0] for line in labels[1:]] == [
        data.class_names[label] for label in truth
    ]
    sheet = np.asarray(Image.open(tmp_path / points.sprite.image_path))
    enlarged = np.asarray(Image.fromarray(images[0].astype("uint8")).resize((48, 48)))
    assert sheet.shape == (4 * 48, 4 * 48, 3)  # 12 images
    np.testing.assert_array_equal(sheet[:48, :48], enlarged)


def test_too_few_images_have_no_map():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    data = (np.zeros((2, 8, 8, 3), "float32"), np.array([0, 1]))
    report = kt.evaluate(model, data, explain="gradcam", verbose=0)
    kt.evaluation.illustrate(report, model, data, verbose=0)
    assert "<canvas" not in report.to_html()
