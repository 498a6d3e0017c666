"""Cached views of images, and the targets that moved with them."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.training import inputs
from keras_transfer.training.cache import rows

RNG = np.random.default_rng(0)
MASKS = RNG.integers(0, 2, (10, 4, 4), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)
IMAGES = np.repeat(255 * MASKS[..., None], 3, axis=-1)  # a picture shows its mask


@pytest.mark.parametrize("named", [False, True])
def test_views_have_the_masks_of_their_images(named):
    labels = {"mask": MASKS, "age": np.arange(10) / 2} if named else MASKS
    data = kt.data.from_arrays(IMAGES, labels, validation=None, batch_size=4)
    changes = kt.data.Augment(flip="both", translation=0.3, colour=0.03)
    given = dataclasses.replace(
        inputs.inputs(data), changes=changes, moving=("mask",) if named else ("",)
    )
    cached = rows.Rows(given, views=3, seed=5)
    pixels = np.concatenate(list(cached.images(rows.VIEWS)))
    assert len(pixels) == 30

    batches = cached.batches(rows.TRAIN, rows.VIEWS, [lambda places: tf.gather(pixels, places)])
    seen = []
    for _ in range(3):  # each epoch has the next view
        for images, targets in batches:
            masks = targets["mask"] if named else targets
            is_sharp = np.abs(images[..., 0] - 127.5) > 105  # one pixel is most of it
            assert is_sharp.mean() > 0.4
            np.testing.assert_array_equal(images[..., 0][is_sharp] > 127, masks[is_sharp] == 1)
            seen.append(masks.numpy())
    assert len(np.unique(np.concatenate(seen).reshape(30, -1), axis=0)) == 30
