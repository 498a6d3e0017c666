"""Boxes and masks of images with other channels than three: the pretrained first layer is kept."""

import numpy as np
import pytest

import keras_transfer as kt

SCENES = kt.data.render_scenes(8, image_size=32)
GREY = SCENES["images"].mean(axis=-1, keepdims=True).astype("uint8")
TASKS = {
    "segmentation": lambda: kt.tasks.Segmentation(["none", *kt.data.SHAPES], width=8),
    "detection": lambda: kt.tasks.Detection(list(kt.data.SHAPES), width=8, depth=1, bins=0),
}


def build(kind, channels):
    trunk = kt.backbone("tiny", image_size=32, channels=channels)
    return kt.build_model(trunk, TASKS[kind](), seed=0)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_answers_are_those_for_rgb_copies_of_a_grey_image(kind, channels):
    wanted = build(kind, 3)(np.repeat(GREY, 3, axis=-1), training=False)
    given = build(kind, channels)(np.repeat(GREY, channels, axis=-1), training=False)
    assert np.ptp(np.asarray(wanted)) > 0
    np.testing.assert_allclose(given, wanted, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("kind", TASKS)
def test_a_step_on_rgb_and_depth_trains_the_first_layer(kind):
    depth = np.rint(255 * SCENES["depth"] / SCENES["depth"].max()).astype("uint8")[..., None]
    images = np.concatenate([SCENES["images"], depth], axis=-1)
    labels = SCENES["masks"]
    if kind == "detection":
        labels = []
        for boxes, ids in zip(SCENES["boxes"], SCENES["box_classes"], strict=True):
            labels.append({"boxes": boxes[ids >= 0].tolist(), "labels": ids[ids >= 0].tolist()})
    names = {"segmentation": ["none", *kt.data.SHAPES], "detection": list(kt.data.SHAPES)}[kind]
    target = "mask" if kind == "segmentation" else "boxes"
    data = kt.data.from_arrays(images, labels, class_names=names, targets=target, channels=4)
    trunk = kt.backbone("tiny", image_size=32, channels=4, channel_mode="zero-extra")
    model = kt.build_model(trunk, TASKS[kind](), seed=0)
    first = next(layer for layer in model.layers if getattr(layer, "kernel_size", None))
    before = np.array(first.kernel)
    assert np.abs(before[:, :, 3]).max() == 0  # the depth starts without a say
    kt.fine_tune(model, data, epochs=(1, 1), unfreeze="all", refit=False, verbose=0)
    assert np.abs(np.array(first.kernel)[:, :, 3]).max() > 0
