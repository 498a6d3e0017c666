import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.data.changes import warping

pytestmark = pytest.mark.compiled

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (3, 7, 9, 2)).astype("float32")
SIZE = (7, 9)
NO = tf.constant([False] * 3)
PATHS = {
    "projective": lambda images, matrices: warping.warp(images, matrices),
    "upright": lambda images, matrices: warping.warp(images, matrices, upright=True),
    "gathered": lambda images, matrices: warping.warp(images, matrices, jit=True),
    "compiled": tf.function(
        lambda images, matrices: warping.warp(images, matrices, jit=True), jit_compile=True
    ),
}


def slowly(images, matrices):
    """By definition: every pixel of the result from the four neighbours of its place, mirrored beyond the edges."""
    result = np.zeros_like(images)
    _, height, width, _ = images.shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2])

    def mirrored(place, side):
        place %= 2 * side
        return min(place, 2 * side - 1 - place)

    for image, matrix, out in zip(images, np.asarray(matrices, "float64"), result, strict=True):
        for row in range(height):
            for column in range(width):
                x, y = (matrix @ [column - middle[0], row - middle[1], 1])[:2] + middle
                for dy in (0, 1):
                    for dx in (0, 1):
                        i, j = int(np.floor(y)) + dy, int(np.floor(x)) + dx
                        share = (1 - abs(y - i)) * (1 - abs(x - j))
                        out[row, column] += share * image[mirrored(i, height), mirrored(j, width)]
    return result


def random(low, high):
    return tf.constant(RNG.uniform(low, high, 3).astype("float32"))


def everything():
    return (
        warping.flips(tf.constant([True, False, True]), tf.constant([False, True, True]))
        @ warping.rotations(random(-0.5, 0.5))
        @ warping.scalings(random(0.7, 1.4))
        @ warping.shifts(random(-0.3, 0.3), random(-0.3, 0.3), size=SIZE)
        @ warping.windows(random(0.5, 1), random(-1, 1), random(-1, 1), size=SIZE)
    )


@pytest.mark.parametrize("path", ["projective", "gathered", "compiled"])
def test_equals_the_slow_loop(path):
    matrices = everything()
    np.testing.assert_allclose(PATHS[path](IMAGES, matrices), slowly(IMAGES, matrices), atol=5e-3)


@pytest.mark.parametrize("path", PATHS)
def test_windows_and_flips_equal_the_slow_loop(path):
    flips = warping.flips(tf.constant([True, False, True]), tf.constant([False, True, True]))
    matrices = flips @ warping.windows(random(0.3, 1), random(-1, 1), random(-1, 1), size=SIZE)
    np.testing.assert_allclose(PATHS[path](IMAGES, matrices), slowly(IMAGES, matrices), atol=5e-3)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [(7, 9), (8, 8), (1, 5), (33, 160)])
def test_the_identity_and_flips_keep_every_bit(path, size):
    images = RNG.uniform(0, 255, (3, *size, 3)).astype("float32")
    np.testing.assert_array_equal(PATHS[path](images, warping.flips(NO, NO)), images)
    matrices = warping.flips(tf.constant([True, False, True]), tf.constant([False, True, True]))
    flipped = [images[0, :, ::-1], images[1, ::-1], images[2, ::-1, ::-1]]
    np.testing.assert_array_equal(PATHS[path](images, matrices), flipped)


def test_a_quarter_turn_is_rot90():
    images = RNG.uniform(0, 255, (3, 8, 8, 3)).astype("float32")
    turned = warping.warp(images, warping.rotations(tf.constant([0.25, 0.5, -0.25])))
    expected = [np.rot90(image, times) for image, times in zip(images, (1, 2, 3), strict=True)]
    np.testing.assert_allclose(turned, expected, atol=2e-3)


def test_a_turn_is_that_of_keras():
    images = RNG.uniform(0, 255, (1, 12, 12, 3)).astype("float32")
    layer = keras.layers.RandomRotation((-0.1, -0.1), fill_mode="reflect", dtype="float32")
    turned = warping.warp(images, warping.rotations(tf.constant([-0.1])))
    np.testing.assert_allclose(turned, layer(images, training=True), atol=0.05)


def test_a_shift_by_whole_pixels_mirrors_what_it_uncovers():
    shifted = warping.warp(IMAGES, warping.shifts(tf.fill(3, 2 / 9), tf.fill(3, -1 / 7), size=SIZE))
    padded = np.pad(IMAGES, ((0, 0), (0, 1), (2, 0), (0, 0)), mode="symmetric")
    np.testing.assert_allclose(shifted, padded[:, 1:, :-2], atol=1e-3)


def test_scalings_enlarge():
    image = np.zeros((1, 9, 9, 1), "float32")
    image[:, 3:6, 3:6] = 1
    larger, smaller = (
        warping.warp(image, warping.scalings(tf.constant([factor]))).numpy()
        for factor in (2.0, 0.5)
    )
    assert larger.sum() > 3 * image.sum()
    assert smaller[:, 2:7, 2:7].sum() < image.sum() / 2  # mirrored copies are further out


@pytest.mark.parametrize("size", [(160, 3), (33, 3), (3, 224), (37, 299)])
def test_no_window_shows_anything_from_beyond_the_edges(size):
    """There `crop_and_resize` puts black at the smallest rounding error: it would hit one window in a hundred."""
    count = 2000
    share = np.concatenate(
        [RNG.uniform(0.5, 1, count // 2), 1 - 10 ** RNG.uniform(-8, -1, count // 2)]
    )
    edges = tf.constant(RNG.choice([-1.0, 1.0], (2, count)), tf.float32)
    flips = warping.flips(*tf.constant(RNG.random((2, count)) < 0.5))
    matrices = flips @ warping.windows(tf.constant(share, tf.float32), *edges, size=size)
    assert warping.warp(tf.ones((count, *size, 1)), matrices, upright=True).numpy().min() > 0.99


def test_shapes_stay_known_in_a_graph():
    function = tf.function(
        PATHS["projective"],
        input_signature=[tf.TensorSpec((None, 8, 9, 3)), tf.TensorSpec((None, 3, 3))],
    )
    assert function.get_concrete_function().output_shapes == tf.TensorShape((None, 8, 9, 3))
