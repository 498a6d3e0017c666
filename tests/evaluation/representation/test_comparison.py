"""Blocks compared."""

import keras
import networks
import numpy as np
import pytest
from errors import told

import keras_transfer as kt


@pytest.fixture(scope="module")
def data():
    """Classes that differ by brightness."""
    rng = np.random.default_rng(0)
    ids = np.arange(60) % 2
    images = rng.integers(0, 100, (60, 32, 32, 3)) + 100 * ids[:, None, None, None]
    return kt.data.from_arrays(images.astype("uint8"), ids, validation=None)


def test_the_block_that_forgets_is_the_one_to_train_from(data):
    before, after = networks.small(), networks.small()
    after.set_weights(before.get_weights())
    after.get_layer("block3_norm").gamma.assign(np.zeros(6))  # a shortcut goes round this one
    after.get_layer("block4_norm").gamma.assign(np.zeros(6))
    comparison = kt.compare_blocks(after, data, before=before)
    rows = {row["block"]: row for row in comparison["blocks"]}
    assert len(rows) == len(kt.models.blocks(after)) > 2
    first, *_, last = rows.values()
    assert first["score"] == 1
    assert first["cka"] == pytest.approx(1)
    assert last["score"] == pytest.approx(0.5, abs=0.01)
    assert last["before"] == 1
    assert last["cka"] is None
    assert comparison.unfreeze == last["block"]
    assert comparison.unfreeze in str(comparison)
    assert comparison.to_html().count('class="bar"') == 3 * len(rows)


def test_numbers_and_what_is_refused(data):
    network = networks.small()
    images = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype="uint8")
    assert kt.compare_blocks(network, (images, np.arange(30.0)))["score"] == "R²"
    told(lambda: kt.compare_blocks(network, images), "`data`", "none")
    told(lambda: kt.compare_blocks(network, (images[:9], np.arange(9) % 2)), "20", "9")
    other = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(2, 3, name="other")])
    told(lambda: kt.compare_blocks(network, data, before=other), "`before`", "other")


def test_the_surgical_plan_trains_the_block_that_forgets(data):
    network = networks.small()
    network.get_layer("block4_norm").gamma.assign(np.zeros(6))
    model = kt.build_model(network, kt.tasks.Classification(2), seed=0)
    expected = kt.compare_blocks(network, data).unfreeze
    history = kt.fine_tune(model, data, plan="surgical", epochs=(1, 1), seed=0, verbose=0)
    assert expected.startswith("block4")
    stages = history.record["stages"]
    assert expected in str(stages[-1])
    assert any(expected in note for note in history.record["notes"])
