"""A class for every pixel: built, trained, measured, exported."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.tasks import decoders

NAMES = ["background", "shape"]


@pytest.fixture(scope="module")
def rendered():
    scenes = kt.data.render_scenes(24, image_size=32)
    return scenes["images"], (scenes["masks"] > 0).astype("uint8"), scenes["class"]


def build(task=None, **options):
    task = task or kt.tasks.Segmentation(NAMES, width=8)
    return kt.build_model(kt.backbone("tiny", weights=None), task, seed=0, **options)


@pytest.mark.parametrize(
    "decoder", sorted(set(decoders.DECODERS) - {"own"})
)  # which a backbone brings
def test_answers_have_the_size_of_the_image_also_where_strides_do_not_divide_it(decoder):
    task = kt.tasks.Segmentation(3, decoder=decoder, width=4)
    backbone = kt.backbone("MobileNetV2", weights=None, image_size=(72, 54), alpha=0.35)
    model = kt.build_model(backbone, task)
    assert model.output_shape == (None, 72, 54, 3)
    answers = model.predict_on_batch(np.zeros((1, 72, 54, 3), "uint8"))
    np.testing.assert_allclose(answers.sum(-1), 1, atol=1e-5)


def test_a_mask_moves_with_what_it_shows():
    """A head that copies its lowest map finds a bright square where it is: levels are enlarged without a shift."""
    maps = {"P2": keras.Input((8, 8, 1)), "P3": keras.Input((4, 4, 1))}
    enlarged = [
        decoders.enlarge(x, (32, 32), times=decoders.factor(key), name=key)
        for key, x in maps.items()
    ]
    enlarged = keras.Model(list(maps.values()), enlarged)
    low, high = np.zeros((1, 8, 8, 1)), np.zeros((1, 4, 4, 1))
    low[0, 2:4, 4:6], high[0, 1:2, 2:3] = 1, 1
    for answer in enlarged([low, high]):
        rows, columns = np.nonzero(np.array(answer)[0, ..., 0] > 0.5)
        assert (rows.mean(), columns.mean()) == pytest.approx((11.5, 19.5))


@pytest.mark.parametrize(
    ("places", "image", "found"),
    [(2, 40, 35.5), (31, 139, 129.5)],  # of a padded image of 64; of a network without padding
)
def test_a_map_that_does_not_fit_is_enlarged_by_its_stride(places, image, found):
    times = 32 if places == 2 else 4
    x = keras.Input((places, places, 1))
    enlarged = decoders.enlarge(x, (image, image), times=times, name="up", interpolation="nearest")
    values = np.zeros((1, places, places, 1))
    values[0, -1] = 1
    rows, _ = np.nonzero(np.array(keras.Model(x, enlarged)(values))[0, ..., 0])
    assert rows.mean() == found


@pytest.mark.compiled
def test_kept_features_train_as_images_do(rendered):
    """The frozen part gives the maps of several levels; heads trained on kept maps equal heads trained on images."""
    images, masks, _ = rendered
    data = ((images, masks), (images[:8], masks[:8]))
    results = []
    for cache in ("memory", "off"):
        model = build()
        stage = kt.Stage(epochs=2, train="head", learning_rate=1e-2)
        kt.fine_tune(model, data, stages=[stage], cache=cache, seed=0, verbose=0, refit=False)
        results.append(model.get_weights())
    for kept, direct in zip(*results, strict=True):
        np.testing.assert_allclose(kept, direct, atol=1e-5)


def test_missing_masks_and_a_second_task(rendered):
    """A joint step with a missing mask equals one without that example's mask loss; the balancer sees both tasks."""
    images, masks, classes = rendered
    tasks = {
        "kind": kt.tasks.Classification(8),
        "mask": kt.tasks.Segmentation(NAMES, width=8),
    }
    model = build(tasks, balancing="uncertainty")
    known = np.ones(24, "float32")
    known[::2] = 0
    wrong = masks.copy()
    wrong[::2] = 1 - wrong[::2]  # what is missing may hold anything
    weights = {"kind": np.ones(24, "float32"), "mask": known}
    values = []
    for given in (masks, wrong):
        logs = model.evaluate(
            images,
            {"kind": classes, "mask": given},
            sample_weight=weights,
            return_dict=True,
            verbose=0,
        )
        values.append((logs["mask_loss"], logs["mask_mean_iou"]))
    assert values[0] == pytest.approx(values[1])
    own = kt.losses.SegmentationLoss()(masks[1::2], model.predict(images[1::2], verbose=0)["mask"])
    assert values[0][0] == pytest.approx(float(own), rel=1e-4)

    report = kt.evaluate(model, (images, {"kind": classes, "mask": masks}, weights), verbose=0)
    assert report["mask"]["support"] == 12
    assert report["mask"]["mean_iou"] == pytest.approx(values[0][1], abs=1e-6)


def test_gradients_of_the_representation_need_one_place(rendered):
    tasks = {"kind": kt.tasks.Classification(8), "mask": kt.tasks.Segmentation(NAMES, width=8)}
    with pytest.raises(kt.InputError, match="balance_on='weights'"):
        build(tasks, balancing="pcgrad")
    assert build(tasks, balancing="pcgrad", balance_on="weights").output["mask"].shape[1] == 32
    with pytest.raises(kt.InputError, match="one trunk for all tasks"):
        build(tasks, sharing="experts")


def test_class_weights_count_pixels():
    masks = np.zeros((1, 4, 4), "uint8")
    masks[0, 0] = 1
    masks[0, 1, 0] = 255
    loss = kt.tasks.Segmentation(2, class_weights="balanced").loss(masks)
    np.testing.assert_allclose(loss.class_weights, [15 / (2 * 11), 15 / (2 * 4)])


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (np.full((2, 8, 8), 7), "masks must have class ids from 0 to 1. Given: 7 in mask 0"),
        (np.zeros((2, 8)), "must be masks of class ids"),
        (np.full((1, 8, 8), 0.5), "must be masks of class ids"),
    ],
)
def test_bad_masks(masks, words):
    with pytest.raises(kt.InputError, match=words):
        kt.tasks.Segmentation(NAMES).encode(masks)


def test_a_value_that_is_no_class_is_told_before_fit():
    model, pixels = build(), np.zeros((2, 32, 32, 3), "uint8")
    good, bad = np.zeros((2, 32, 32), "uint8"), np.full((2, 32, 32), 7, "uint8")
    with pytest.raises(kt.InputError, match="class ids from 0 to 1. Given: 7"):
        model.fit(pixels, bad, verbose=0)
    with pytest.raises(kt.InputError, match="class ids from 0 to 1. Given: 7"):
        model.fit(pixels, good, validation_data=(pixels, bad), verbose=0)


def test_bad_arguments():
    with pytest.raises(kt.InputError, match="unet"):
        kt.tasks.Segmentation(2, decoder="u-net")
    with pytest.raises(kt.InputError, match="no class id"):
        kt.tasks.Segmentation(2, ignored=1)
    vector = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()], name="flat")
    with pytest.raises(kt.InputError, match="levels P2, P3"):
        kt.build_model(kt.backbone(vector, preprocess="tf"), kt.tasks.Segmentation(2))


def test_report_draws_masks(rendered, tmp_path):
    images, masks, _ = rendered
    report = kt.evaluate(build(), (images, masks), verbose=0)
    page = report.to_html()
    assert page.count("data:image/jpeg") + page.count("data:image/png") >= 2 * len(
        report["mistakes"]
    )
    assert "of the pixels are wrong" in page
    assert report["baseline"]["answer"] == "'background'"
