import keras
import pytest

import keras_transfer as kt
from keras_transfer.graphs import paths


@pytest.fixture(scope="module")
def model():
    return kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))


def test_a_row_for_every_block_and_for_the_head(model):
    kt.freeze(model, below="block3")
    table = kt.trainable_table(model)
    rows = {row["path"]: row for row in table}
    assert list(rows) == [*(block.name for block in kt.models.blocks(model)), "head"]
    assert [row["trainable"] for row in table] == sorted(row["trainable"] for row in table)
    assert sum(row["parameters"] for row in table) == model.count_params()
    assert rows["block2"]["mode"] == "no (batch norm: inference mode)"
    assert rows["block3"]["mode"] == "yes (batch norm: batch statistics)"
    assert rows["head"]["mode"] == "yes"
    trained = sum(int(weight.value.numpy().size) for weight in model.trainable_weights)
    lines = str(table).splitlines()
    assert lines[0].split() == ["block", "parameters", "trains"]
    assert lines[-1] == f"{trained:,} of {model.count_params():,} parameters train"


def test_blocks_that_train_in_part_say_so(model):
    kt.unfreeze(model)
    inside = {block.name: block.layers for block in kt.models.blocks(model)}["block3"]
    leaves = paths.leaves(model)
    weighted = [leaves[path] for path in inside if leaves[path].weights]
    others = [layer for layer in weighted if not isinstance(layer, keras.layers.BatchNormalization)]
    others[0].trainable = False
    rows = {row["path"]: row["mode"] for row in kt.trainable_table(model)}
    assert rows["block2"] == "yes (batch norm: inference mode)"
    mode = f"{len(others) - 1} of {len(others)} layers" if len(others) > 1 else "no"
    assert rows["block3"] == f"{mode} (batch norm: inference mode)"


def test_layers_are_there_on_request(model):
    kt.freeze(model, below="block4")
    table = kt.trainable_table(model, layers=True)
    rows = {row["path"]: row for row in table}
    assert not rows["stem_conv"]["trainable"]
    assert rows["block4_1_conv"]["trainable"]
    assert rows["stem_bn"]["mode"] == "no (inference mode)"
    assert sum(row["parameters"] for row in table) == model.count_params()
    assert str(table).startswith("layer ")
