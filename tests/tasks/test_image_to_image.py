"""A picture for a picture: the image itself is one of the maps, and the answer starts as the image."""

import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt


@pytest.fixture(scope="module")
def noisy():
    """Pictures and noisy copies of them."""
    pictures = kt.data.render_scenes(48, image_size=32)["images"]
    noise = np.random.default_rng(0).normal(0, 40, pictures.shape)
    return np.clip(pictures + noise, 0, 255).astype("uint8"), pictures


def build(task=None):
    task = task or kt.tasks.ImageToImage(width=16)
    return kt.build_model(kt.backbone("tiny", weights=None), task, seed=0)


def test_an_untrained_model_answers_with_the_image(noisy):
    images, pictures = noisy
    model = build()
    np.testing.assert_allclose(model.predict(images[:4], verbose=0), images[:4], atol=1e-3)
    report = kt.evaluate(model, (images, pictures), verbose=0)
    expected = tf.image.psnr(pictures.astype("float32"), images.astype("float32"), max_val=255)
    assert report["psnr"] == pytest.approx(float(np.mean(expected)), rel=1e-4)


@pytest.mark.compiled
def test_denoising_gains_and_kept_features_train_as_images_do(noisy):
    """The images are kept beside the features: both ways have the same weights in the end."""
    images, pictures = noisy
    weights = []
    start = build()
    before = kt.evaluate(start, (images, pictures), verbose=0)["psnr"]
    for cache in ("memory", "off"):
        model = build()
        model.set_weights(start.get_weights())
        stage = kt.Stage(epochs=8, train="head", learning_rate=3e-3)
        data = ((images, pictures), (images[:8], pictures[:8]))
        kt.fine_tune(model, data, stages=[stage], cache=cache, seed=0, verbose=0, refit=False)
        weights.append(model.get_weights())
    for kept, direct in zip(*weights, strict=True):
        np.testing.assert_allclose(kept, direct, atol=2e-3)
    after = kt.evaluate(model, (images, pictures), verbose=0)["psnr"]
    assert after - before > 1  # dB, after sixteen steps


def test_grey_becomes_colour_and_small_becomes_large():
    colour = kt.build_model(
        kt.backbone("tiny", weights=None, channels=1), kt.tasks.ImageToImage(3, width=4)
    )
    assert colour.output_shape == (None, 32, 32, 3)
    assert build(kt.tasks.ImageToImage(scale=2, width=4)).output_shape == (None, 64, 64, 3)


def test_bad_pictures():
    task = kt.tasks.ImageToImage()
    with pytest.raises(kt.InputError, match="3 channel"):
        task.encode(np.zeros((2, 4, 4, 1)))
    with pytest.raises(kt.InputError, match="values 0..255"):
        task.encode(np.full((2, 4, 4, 3), -1.0))
