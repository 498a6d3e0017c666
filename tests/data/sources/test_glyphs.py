import numpy as np
import pytest

from keras_transfer.core import checks
from keras_transfer.data.sources.glyphs import glyphs, render_glyphs


def test_data_holds_the_rendered_glyphs():
    data = glyphs(4, 10, validation=0.2, test=0.2, seed=3)
    counts = {split: np.bincount(targets).tolist() for split, targets in data.targets.items()}
    assert counts == {"train": [6] * 4, "validation": [2] * 4, "test": [2] * 4}
    known = dict(
        zip(
            (i.tobytes() for i in render_glyphs(4, 10, seed=3)[0]),
            np.repeat(np.arange(4), 10),
            strict=True,
        )
    )
    for images, labels in data.train:
        drawn = [known[image.astype(np.uint8).tobytes()] for image in images.numpy()]
        assert drawn == labels.numpy().tolist()


def test_same_arguments_give_the_same_bytes():
    first, second = render_glyphs(7, 3, seed=5, hand=1), render_glyphs(7, 3, seed=5, hand=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], render_glyphs(7, 3, seed=6, hand=1)[0])
    assert not np.array_equal(first[0], render_glyphs(7, 3, seed=5, hand=2)[0])


@pytest.mark.parametrize("image_size", [32, 47, 64])
def test_shapes_types_and_labels(image_size):
    images, labels = render_glyphs(5, 4, image_size=image_size)
    assert images.shape == (20, image_size, image_size, 3)
    assert images.dtype == np.uint8
    assert labels.tolist() == [c for c in range(5) for _ in range(4)]


def test_a_larger_alphabet_begins_with_the_smaller_one():
    small, large = render_glyphs(9, 10)[0], render_glyphs(30, 10)[0]
    assert np.array_equal(small, large[:90])


def test_every_drawing_shows_something():
    images = render_glyphs(50, 10)[0].astype(float)
    assert images.std((1, 2)).max(-1).min() > 4  # of 255


def test_another_hand_draws_the_same_characters():
    train, labels = render_glyphs(20, 40, hand=0)
    test, _ = render_glyphs(20, 10, hand=1)
    assert (
        _nearest_centroid(train, labels, test, np.repeat(np.arange(20), 10)) > 0.25
    )  # chance is 0.05
    other, _ = render_glyphs(20, 10, seed=1)
    assert _nearest_centroid(train, labels, other, np.repeat(np.arange(20), 10)) < 0.15


def _nearest_centroid(train, labels, test, truth):
    def features(images):  # contrast without sign, small: colour and shade do not matter
        grey = images.mean(-1)
        ink = np.abs(grey - np.median(grey[:, [0, -1]], axis=(1, 2), keepdims=True))
        ink = ink.reshape(len(ink), 8, 4, 8, 4).mean((2, 4)).reshape(len(ink), -1)
        return ink / np.linalg.norm(ink, axis=1, keepdims=True).clip(1e-6)

    centroids = np.stack([features(train)[labels == c].mean(0) for c in np.unique(labels)])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    return ((features(test) @ centroids.T).argmax(1) == truth).mean()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, 2), r"`alphabet_size` must be .* Given: 0"),
        ((2, 0), r"`per_class` must be .* Given: 0"),
    ],
)
def test_errors_name_the_argument(arguments, text):
    with pytest.raises(checks.InputError, match=text):
        render_glyphs(*arguments)
