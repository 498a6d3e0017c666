import pytest
from networks import small

import keras_transfer as kt


@pytest.fixture(scope="module")
def model():
    return kt.build_model(small(), kt.tasks.Classification(2))


def test_a_row_for_every_block_and_for_the_head(model):
    kt.freeze(model, below="block3")
    table = kt.trainable_table(model)
    assert [row["path"] for row in table] == ["block1", "block2", "block3", "block4", "head"]
    assert [row["trainable"] for row in table] == [False, False, True, True, True]
    assert sum(row["parameters"] for row in table) == model.count_params()
    assert table[1]["mode"] == "no (batch norm: inference mode)"
    assert table[2]["mode"] == "yes (batch norm: batch statistics)"
    assert table[4]["mode"] == "yes"
    trained = sum(int(weight.value.numpy().size) for weight in model.trainable_weights)
    lines = str(table).splitlines()
    assert lines[0].split() == ["block", "parameters", "trains"]
    assert lines[-1] == f"{trained:,} of {model.count_params():,} parameters train"


def test_blocks_that_train_in_part_say_so(model):
    kt.unfreeze(model)
    model.get_layer("block2_conv").trainable = False
    model.get_layer("block3_norm").trainable = True
    rows = {row["path"]: row["mode"] for row in kt.trainable_table(model)}
    assert rows["block1"] == "yes (batch norm: inference mode)"
    assert rows["block2"] == "no (batch norm: inference mode)"
    assert rows["block3"] == "yes (batch norm: batch statistics)"


def test_layers_are_there_on_request(model):
    kt.freeze(model, below="block4")
    table = kt.trainable_table(model, layers=True)
    rows = {row["path"]: row for row in table}
    assert not rows["block1_conv"]["trainable"]
    assert rows["block4_conv"]["trainable"]
    assert rows["block1_norm"]["mode"] == "no (inference mode)"
    assert sum(row["parameters"] for row in table) == model.count_params()
    assert str(table).startswith("layer ")
