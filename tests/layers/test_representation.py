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


def test_several_marks_come_in_order():
    image = keras.Input((4,))
    low = keras.layers.Dense(4, name="low")(image)
    own = layers.Representation({"blocks": None}, branch="age", name="age_end")(
        keras.layers.Dense(4, name="age_high")(low)
    )
    below = layers.Representation(name="below")(low)
    end = layers.Representation(name="end")(keras.layers.Dense(4, name="high")(low))
    model = keras.Model(image, [own, below, end])
    assert [mark.name for mark in layers.representations(model)] == ["end", "below", "age_end"]
    assert layers.representation(model).name == "end"
    for mark in layers.representations(model):
        assert layers.representation(model, below=mark.output) is mark
    assert [
        (block.name, set(block.layers) - {image._keras_history.operation.name})
        for block in layers.blocks(model)
    ] == [
        ("low", {"low"}),
        ("high", {"high", "age_high"}),
    ]


def test_whose_branch_it_is_is_saved():
    mark = layers.Representation({"name": "x"}, branch="age")
    assert layers.Representation.from_config(mark.get_config()).branch == "age"
