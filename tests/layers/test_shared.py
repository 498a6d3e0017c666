import keras

import keras_transfer as kt

TASKS = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}


def test_of_hard_sharing_it_is_the_representation(tmp_path):
    model = kt.build_model(kt.backbone("tiny", weights=None), TASKS)
    assert kt.layers.shared(model) == [kt.layers.representation(model).output]
    model.save(tmp_path / "m.keras")
    again = kt.load_model(tmp_path / "m.keras")
    assert kt.layers.shared(again) == [kt.layers.representation(again).output]


def test_a_single_task_shares_nothing():
    assert kt.layers.shared(kt.build_model(kt.backbone("tiny", weights=None), TASKS["kind"])) == []


def test_a_plain_model_shares_nothing():
    assert kt.layers.shared(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) == []
