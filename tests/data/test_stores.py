import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.data import pipeline, stores

RNG = np.random.default_rng(0)


@pytest.fixture
def paths(tmp_path):
    found = []
    for at in range(7):
        found.append(tmp_path / f"{at}.{'jpg' if at % 2 else 'png'}")
        pixels = RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        encode = tf.io.encode_jpeg if at % 2 else tf.io.encode_png
        found[-1].write_bytes(encode(pixels).numpy())
    return found


def test_several_stores_are_one(paths):
    whole = stores.Files(paths)
    parts = stores.joined(
        [stores.Files(paths[:3]), stores.Files(paths[3:4]), stores.Files(paths[4:])]
    )
    assert len(parts) == len(whole) == 7
    for rows in (np.arange(7), np.array([6, 0, 3, 3, 1])):
        np.testing.assert_array_equal(parts.read(rows, (6, 5), 3), whole.read(rows, (6, 5), 3))
        assert parts.contents(rows) == [paths[row].read_bytes() for row in rows]


@pytest.mark.compiled
def test_a_bad_file_is_named_when_its_batch_is_read(paths):
    paths[4].write_bytes(b"no image")
    paths[5].unlink()
    examples = pipeline.Examples(stores.Files(paths), np.arange(7), np.arange(7))
    batches = iter(pipeline.batches(examples, size=(6, 5), batch_size=4))
    np.testing.assert_array_equal(next(batches)[1], [0, 1, 2, 3])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"5\.jpg \(No such file or directory\)"
    ):
        next(batches)
    with pytest.raises(checks.InputError, match=r"4\.png \(the bytes are not a JPEG"):
        examples.pixels.read(np.array([4]), (6, 5), 3)
