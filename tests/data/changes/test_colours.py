import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.data.changes import colours

RNG = np.random.default_rng(0)


def pictures(channels=3, low=0, high=255):
    return RNG.uniform(low, high, (4, 6, 5, channels)).astype("float32")


def luma(image):
    return image @ (
        np.array([0.299, 0.587, 0.114])
        if image.shape[-1] == 3
        else np.full(image.shape[-1], 1 / image.shape[-1])
    )


def one_after_another(image, light, contrast, saturation):
    image = image.astype("float64") * light
    image = luma(image).mean() + contrast * (image - luma(image).mean())
    if image.shape[-1] == 3:
        grey = luma(image)[..., None]
        image = grey + saturation * (image - grey)
    return image


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_one_pass_equals_the_steps_one_after_another(channels):
    images = pictures(channels, 100, 150)
    factors = RNG.uniform(0.8, 1.2, (4, 3)).astype("float32")
    steps = [colours.brighten, colours.contrast, colours.saturate]
    changed = colours.recolour(images, list(zip(steps, tf.unstack(factors, axis=1), strict=True)))
    expected = [one_after_another(image, *row) for image, row in zip(images, factors, strict=True)]
    np.testing.assert_allclose(changed, expected, rtol=1e-5)


def test_the_order_of_steps_counts():
    images, factors = pictures(3, 100, 150), tf.fill(4, 1.3)
    steps = [(colours.contrast, factors), (colours.brighten, factors)]
    one, other = colours.recolour(images, steps), colours.recolour(images, steps[::-1])
    np.testing.assert_allclose(
        one, other, rtol=1e-5
    )  # these two commute, as brightness scales the mean, too
    again = colours.recolour(
        one, [(colours.contrast, 1 / factors), (colours.brighten, 1 / factors)]
    )
    np.testing.assert_allclose(again, images, rtol=1e-4)


def test_no_saturation_is_grey_of_the_same_brightness():
    images = pictures()
    grey = colours.recolour(images, [(colours.saturate, tf.zeros(4))]).numpy()
    np.testing.assert_allclose(grey, np.repeat(luma(images)[..., None], 3, -1), rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_factors_of_one_keep_every_bit(channels):
    images = pictures(channels)
    steps = [(step, tf.ones(4)) for step in (colours.brighten, colours.contrast, colours.saturate)]
    np.testing.assert_array_equal(colours.recolour(images, steps), images)


def test_values_are_clipped():
    images = pictures()
    changed = colours.recolour(images, [(colours.brighten, tf.fill(4, 2.0))])
    np.testing.assert_allclose(changed, np.minimum(2 * images, 255), rtol=1e-6)
    assert colours.recolour(images, [(colours.contrast, tf.fill(4, 3.0))]).numpy().min() == 0
