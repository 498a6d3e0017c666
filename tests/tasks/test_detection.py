"""Boxes and classes of objects: built, trained, measured, answered, exported."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import candidates as columns
from keras_transfer.core import checks

NAMES = ["shape"]


@pytest.fixture(scope="module")
def rendered():
    """Images with all their objects, all of one class."""
    scenes = kt.data.render_scenes(24, image_size=32, max_objects=2)
    is_object = scenes["box_classes"] >= 0
    rows = np.zeros((*is_object.shape, 6), "float32")
    rows[..., 4] = -1
    rows[is_object, :4], rows[is_object, 4] = scenes["boxes"][is_object], 0
    return scenes["images"], rows, scenes["class"]


def build(task=None, **options):
    task = task or kt.tasks.Detection(NAMES, width=8, depth=1)
    return kt.build_model(kt.backbone("tiny", weights=None), task, seed=0, **options)


def candidates(*rows):
    """One image's candidates of one class: box and score."""
    return np.array([[[*box, 0, 0, 8, score] for *box, score in rows]], "float32")


def test_candidates_say_where_their_places_are():
    backbone = kt.backbone("MobileNetV2", weights=None, image_size=(96, 80), alpha=0.35)
    model = kt.build_model(backbone, kt.tasks.Detection(2, width=4, bins=4))
    rows = model.predict_on_batch(np.zeros((1, 96, 80, 3), "uint8"))[0]
    assert rows.shape == (12 * 10 + 6 * 5 + 3 * 3, 7 + 2 + 16)  # 80 is no multiple of 32
    assert rows[0, 4:7].tolist() == [4, 4, 8]
    assert rows[11, 4:7].tolist() == [12, 12, 8]
    assert rows[-1, 4:7].tolist() == [80, 80, 32]
    np.testing.assert_allclose(rows[:, 9:].reshape(-1, 4, 4).sum(-1), 1, atol=1e-5)
    assert (rows[:, 0] <= rows[:, 4]).all()
    assert (rows[:, 3] >= rows[:, 5]).all()


def test_of_boxes_that_overlap_the_surest_is_kept():
    task = kt.tasks.Detection(NAMES)
    found = task.find(
        candidates(
            (0, 0, 10, 10, 0.6), (1, 0, 10, 10, 0.9), (20, 20, 30, 30, 0.5), (5, 5, 9, 9, 0.01)
        )
    )[0]
    kept = found[found[:, 4] >= 0]
    np.testing.assert_allclose(kept[:, :4], [[1, 0, 10, 10], [20, 20, 30, 30]])
    np.testing.assert_allclose(kept[:, 6], [0.9, 0.5])


def test_suppression_equals_a_loop():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 60, (60, 2))
    boxes = np.hstack([low, low + rng.uniform(5, 40, (60, 2))])
    scores = rng.permutation(60) / 60 * 0.9 + 0.06
    left, order = [], list(np.argsort(-scores))
    while order:
        best = order.pop(0)
        left.append(best)

        def iou(other, one=boxes[best]):
            sides = np.minimum(one[2:], boxes[other][2:]) - np.maximum(one[:2], boxes[other][:2])
            both = np.prod(np.maximum(sides, 0))
            areas = [np.prod(box[2:] - box[:2]) for box in (one, boxes[other])]
            return both / (sum(areas) - both)

        order = [other for other in order if iou(other) <= 0.6]
    found = kt.tasks.Detection(NAMES).find(candidates(*np.hstack([boxes, scores[:, None]])))[0]
    np.testing.assert_allclose(found[: len(left), :4], boxes[left], rtol=1e-6)
    assert (found[len(left) :, 4] == -1).all()


@pytest.mark.compiled
def test_a_few_epochs_find_shapes_and_kept_maps_train_as_images_do(rendered):
    """Heads trained on kept maps equal heads trained on images; a line says from which score on boxes count."""
    images, rows, _ = rendered
    data = ((images, rows), (images[:8], rows[:8]))
    weights = []
    for cache in ("memory", "off"):
        model = build()
        stage = kt.Stage(epochs=2, train="head", learning_rate=1e-2)
        history = kt.fine_tune(
            model, data, stages=[stage], cache=cache, seed=0, verbose=0, refit=False
        )
        assert history.history["loss"][-1] < history.history["loss"][0]
        weights.append(model.get_weights())
    for kept, direct in zip(*weights, strict=True):
        np.testing.assert_allclose(kept, direct, atol=1e-4)


def test_batches_may_have_different_numbers_of_boxes(rendered):
    """As `padded_batch` makes them."""
    images, rows, _ = rendered
    short = (images[:4], rows[:4, :1])
    batches = tf.data.Dataset.from_generator(
        lambda: iter([short, (images[4:8], rows[4:8])]),
        output_signature=(
            tf.TensorSpec((None, 32, 32, 3), tf.uint8),
            tf.TensorSpec((None, None, 6), tf.float32),
        ),
    )
    batches = batches.apply(tf.data.experimental.assert_cardinality(2))
    model = build()
    stage = kt.Stage(epochs=1, train="head")
    kt.fine_tune(model, (batches, batches), stages=[stage], verbose=0, watch=())
    report = kt.evaluate(model, batches, verbose=0)
    known = (rows[:4, :1, 4] >= 0).sum() + (rows[4:8, :, 4] >= 0).sum()
    assert report["classes"]["shape"]["support"] == known


def test_calibration_chooses_the_score_with_the_best_f1():
    task = kt.tasks.Detection(NAMES)
    targets = np.array([[[0, 0, 10, 10, 0, 0], [20, 20, 30, 30, 0, 0]]], "float32")
    outputs = candidates((0, 0, 10, 10, 0.5), (20, 20, 30, 30, 0.4), (40, 40, 50, 50, 0.2))
    assert "0.30" in task.calibrate(targets, outputs)
    assert task.describe(task.find(outputs)[0]) == "2 shape"


def test_missing_annotation_is_not_an_image_without_objects(rendered):
    images, rows, classes = rendered
    tasks = {
        "kind": kt.tasks.Classification(8),
        "boxes": kt.tasks.Detection(NAMES, width=8, depth=1),
    }
    model = build(tasks, balancing="uncertainty")
    known = np.ones(24, "float32")
    known[1::2] = 0
    empty = rows.copy()
    empty[1::2] = [0, 0, 0, 0, -1, 0]
    losses = []
    for weights in (known, np.ones(24, "float32")):
        logs = model.evaluate(
            images,
            {"kind": classes, "boxes": empty},
            sample_weight={"kind": np.ones(24, "float32"), "boxes": weights},
            return_dict=True,
            verbose=0,
        )
        losses.append(logs["boxes_loss"])
    own = kt.losses.DetectionLoss(1, bins=16)(
        rows[::2], model.predict(images[::2], verbose=0)["boxes"]
    )
    assert losses[0] == pytest.approx(float(own), rel=1e-4)
    assert losses[1] != pytest.approx(losses[0], rel=1e-2)
    report = kt.evaluate(model, (images, {"kind": classes, "boxes": rows}), verbose=0)
    assert report["boxes"]["support"] == 24
    assert report["boxes"]["classes"]["shape"]["support"] == int((rows[..., 4] >= 0).sum())


def constant(boxes, scores, size=(32, 32)):
    """A model that always answers with the same boxes, in pixels of images of `size`."""
    rows = candidates(*[(*box, score) for box, score in zip(boxes, scores, strict=True)])
    image = keras.Input((*size, 3))
    start = keras.ops.mean(image, axis=(1, 2, 3), keepdims=False)[:, None, None] * 0
    answer = keras.ops.add(start, rows)
    task = kt.tasks.Detection(NAMES, threshold=0.3)
    return keras.Model(image, kt.layers.TaskOutput(task, name="detection")(answer))


def test_predicted_boxes_are_in_pixels_of_the_picture_that_was_given(tmp_path):
    from PIL import Image

    model = constant([(8, 4, 16, 28)], [0.9])
    pixels = np.full((64, 128, 3), 200, "uint8")
    (row,) = kt.predict(model, [pixels], verbose=0)
    assert (row["boxes"], row["label"]) == ([[32, 8, 64, 56]], "1 shape")
    turned = Image.fromarray(np.full((128, 64, 3), 200, "uint8"))
    exif = turned.getexif()
    exif[0x0112] = 6  # stored on its side: shown 64 high, 128 wide
    turned.save(tmp_path / "turned.jpg", exif=exif)
    predictions = kt.predict(model, [tmp_path / "turned.jpg"], verbose=0)
    assert predictions[0]["boxes"] == [[32, 8, 64, 56]]
    assert predictions[0]["labels"] == ["shape"]
    (file,) = predictions.save_pictures(tmp_path / "drawn")
    drawn = np.asarray(Image.open(file)).astype(int)
    assert drawn.shape == (64, 128, 3)
    assert abs(drawn[30, 32] - 200).max() > 30  # the left side of the box
    assert abs(drawn[30, 20] - 200).max() < 20


@pytest.mark.compiled
def test_the_export_answers_in_pixels_of_odd_sized_pictures(rendered, tmp_path):
    images, _, _ = rendered
    model = build()
    kt.export(model, tmp_path / "1")
    kt.verify(tmp_path / "1", model, images[:8])
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    picture = tf.image.resize(images[:1], (50, 77)).numpy().astype("uint8")
    file = tf.io.encode_png(picture[0])
    answers = signatures["serving_default"](image_bytes=tf.constant([file.numpy()]))
    expected = kt.predict(model, [picture[0]], verbose=0)
    outputs = model.get_layer("detection").task.find(expected.outputs)[0]
    factors = np.array([77, 50, 77, 50]) / 32
    np.testing.assert_allclose(answers["boxes"][0], outputs[:, :4] * factors, atol=0.01)
    np.testing.assert_allclose(answers["scores"][0], outputs[:, 6], atol=1e-5)
    assert answers["count"].numpy().tolist() == [int((outputs[:, 4] >= 0).sum())]


def test_report_draws_boxes(rendered):
    images, rows, _ = rendered
    report = kt.evaluate(build(), (images, rows), verbose=0)
    page = report.to_html()
    mistakes = page[page.index("Images with most missed") : page.index("Images drawn at random")]
    assert mistakes.count("of the boxes are missed or wrong") == len(report["mistakes"])
    for caption in ("true", "the model"):
        assert mistakes.count(f"<figcaption>{caption}</figcaption>") == len(report["mistakes"])
    assert mistakes.count('class="swatch"') == len(NAMES)
    assert report["mistakes"][0]["target"].endswith("shape")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[[0, 0, 8, 8, 3, 0]]], "class ids from 0 to 0"),
        ([[[8, 0, 2, 8, 0, 0]]], "x1 < x2"),
        ([[0, 0, 8, 8]], "boxes as kt.data gives them"),
        ([[[0, 0, np.nan, 8, 0, 0]]], "finite"),
        ([[[np.nan, 0, 0, 0, -1, 0]]], "finite"),
    ],
)
def test_bad_boxes(rows, words):
    with pytest.raises(kt.InputError, match=words):
        kt.tasks.Detection(NAMES).encode(np.array(rows, "float32"))


def test_bad_arguments():
    with pytest.raises(kt.InputError, match="Close"):
        kt.tasks.Detection(2, overlap="giuo")
    with pytest.raises(kt.InputError, match="bins"):
        kt.tasks.Detection(2, bins=1)


def test_a_level_above_those_of_the_backbone_is_made():
    trunk = kt.backbone("MobileNetV2", weights=None, alpha=0.35, image_size=96)
    task = kt.tasks.Detection(2, width=8, depth=1, bins=0, levels=("P4", "P5", "P6"))
    model = kt.build_model(trunk, task)
    rows = np.asarray(model(np.zeros((1, 96, 96, 3)), training=False))[0]
    strides = rows[:, columns.STRIDE]
    assert [int((strides == stride).sum()) for stride in (16, 32, 64)] == [36, 9, 4]
    made = model.get_layer("detection_P6_made_conv")
    assert made.strides == (2, 2)
    again = type(task).from_config(task.get_config())
    assert again.levels == ("P4", "P5", "P6")


def test_a_level_that_the_backbone_lacks():
    with pytest.raises(checks.InputError, match="of the backbone. Given: 'P4'. tiny has P2, P3."):
        kt.build_model("tiny", kt.tasks.Detection(2, levels=("P3", "P4")))
    with pytest.raises(checks.InputError, match="`levels` must be neighbours"):
        kt.tasks.Detection(2, levels=("P3", "P5"))


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        ([20, 20, 10, 10], "of 32 x 32.*looks like x, y, width, height"),
        ([0.1, 0.1, 0.5, 0.5], "look like shares of the picture"),
        ([33, 20, 40, 40], r"x1, y1, x2, y2 in pixels of images of 32 x 32. Given: \[33.0"),
    ],
)
def test_rows_in_another_format_are_told(corners, message):
    model = kt.build_model("tiny", kt.tasks.Detection(2, width=8, depth=0, bins=0))
    rows = np.array([[[*corners, 0, 0]]] * 2, "float32")
    images = np.zeros((2, 32, 32, 3), "uint8")
    with pytest.raises(checks.InputError, match=message):
        model.fit(images, rows, verbose=0)
    with pytest.raises(checks.InputError, match=message):
        kt.fine_tune(model, (images, rows), epochs=(1, 1), verbose=0)
