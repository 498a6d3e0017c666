import numpy as np
import tensorflow as tf
from PIL import Image, ImageFilter, ImageOps

from keras_transfer.data.changes import policies

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(20, 200, (14, 36, 30, 3)).astype("float32")
IMAGES[:, :9] = 37  # some values are frequent


def drawn(name, strength=0.6, sign=1.0):
    chosen = tf.fill((14,), list(policies.CHANGES).index(name))
    return [policies.Draw(chosen, tf.fill((14,), strength), tf.fill((14,), sign))]


def by_pillow(change):
    return [np.asarray(change(Image.fromarray(image.astype("uint8")))) for image in IMAGES]


def test_values_change_as_in_pillow():
    cases = {
        "autocontrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
        "solarize": lambda image: ImageOps.solarize(image, 103),  # 256 - 0.6 * 256, rounded up
        "posterize": lambda image: ImageOps.posterize(image, 6),  # two bits are lost
    }
    for name, change in cases.items():
        retouched = policies.retouch(tf.constant(IMAGES), drawn(name)).numpy()
        np.testing.assert_allclose(retouched, by_pillow(change), atol=1.0, err_msg=name)
        assert np.abs(retouched - IMAGES).mean() > 1


def test_sharpness_is_the_smooth_filter_of_pillow():
    smooth = np.array(by_pillow(lambda image: image.filter(ImageFilter.SMOOTH)), "float32")
    for sign in (-1.0, 1.0):
        factor = 1 + sign * 0.9 * 0.5
        expected = np.clip(smooth + factor * (IMAGES - smooth), 0, 255)
        retouched = policies.retouch(tf.constant(IMAGES), drawn("sharpness", 0.5, sign)).numpy()
        inside = np.s_[:, 1:-1, 1:-1]
        np.testing.assert_allclose(retouched[inside], expected[inside], atol=1.0)


def test_images_have_what_they_drew_and_nothing_else():
    """Fourteen images with a change each: the one without keeps every bit."""
    names = list(policies.CHANGES)
    draw = policies.Draw(tf.range(14), tf.fill((14,), 0.7), tf.ones(14))
    retouched = policies.retouch(tf.constant(IMAGES), [draw]).numpy()
    matrices = policies.matrices([draw], tf.constant([36, 30])).numpy()
    for at, name in enumerate(names):
        is_moved = name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
        assert (matrices[at] == np.eye(3)).all() == (not is_moved), name
        is_retouched = not is_moved and name != "identity"
        assert (retouched[at] == IMAGES[at]).all() == (not is_retouched), name
        alone = policies.retouch(tf.constant(IMAGES), drawn(name, 0.7)).numpy()[at]
        np.testing.assert_allclose(retouched[at], alone, atol=1e-3)


def test_each_change_is_drawn_as_often():
    draws = policies.draw(2, 7000, seed=(0, 3))
    for each in draws:
        counts = np.bincount(each.chosen, minlength=14)
        assert counts.min() > 350
        assert abs(each.sign.numpy().mean()) < 0.06
        assert each.strength.numpy().min() < 0.01
        assert each.strength.numpy().max() > 0.99
    assert (draws[0].chosen != draws[1].chosen).numpy().mean() > 0.8
