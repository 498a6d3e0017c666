import keras
import numpy as np

import keras_transfer as kt
from keras_transfer import layers, testing


def test_contract():
    testing.check_layer(layers.Representation({"name": "x"}), np.ones((2, 3), "float32"))


def test_the_mark_survives_saving(tmp_path):
    model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))
    model.save(tmp_path / "m.keras")
    mark = layers.representation(kt.load_model(tmp_path / "m.keras"))
    assert mark.source == layers.representation(model).source
    assert mark.source["name"] == "tiny"


def test_blocks_of_a_model_are_those_of_its_backbone():
    backbone = kt.backbone("tiny", weights=None)
    model = kt.build_model(backbone, kt.tasks.Classification(2))
    assert layers.blocks(model) == backbone.blocks


def test_a_plain_model_has_no_mark():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="a")])
    assert layers.representation(model) is None
    assert [block.name for block in layers.blocks(model)] == ["a"]
