import numpy as np

import keras_transfer as kt
from keras_transfer import layers, testing
from keras_transfer.layers import marks


def test_contract():
    testing.check_layer(layers.Representation({"name": "x"}), np.ones((2, 3), "float32"))


def test_the_mark_survives_saving(tmp_path):
    model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))
    model.save(tmp_path / "m.keras")
    mark = marks.representation(kt.load_model(tmp_path / "m.keras"))
    assert mark.source == marks.representation(model).source
    assert mark.source["name"] == "tiny"


def test_whose_branch_it_is_is_saved():
    mark = layers.Representation({"name": "x"}, branch="age")
    assert layers.Representation.from_config(mark.get_config()).branch == "age"
