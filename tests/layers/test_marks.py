import keras
import pytest

import keras_transfer as kt
from keras_transfer import layers, tasks
from keras_transfer.layers import marks

TASKS = {"kind": tasks.Classification(3), "age": tasks.Regression()}


@pytest.fixture
def plain():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="a")])


def test_a_plain_model_has_no_mark(plain):
    assert marks.representation(plain) is None
    assert marks.balance(plain) is None
    assert marks.outputs(plain) == {}
    assert marks.shared(plain) == []
    assert [block.name for block in marks.blocks(plain)] == ["a"]


def test_blocks_of_a_model_are_those_of_its_backbone():
    backbone = kt.backbone("tiny", weights=None)
    model = kt.build_model(backbone, tasks.Classification(2))
    assert marks.blocks(model) == backbone.blocks


def test_several_ends_come_in_order():
    image = keras.Input((4,))
    low = keras.layers.Dense(4, name="low")(image)
    own = layers.Representation({"blocks": None}, branch="age", name="age_end")(
        keras.layers.Dense(4, name="age_high")(low)
    )
    below = layers.Representation(name="below")(low)
    end = layers.Representation(name="end")(keras.layers.Dense(4, name="high")(low))
    model = keras.Model(image, [own, below, end])
    assert [mark.name for mark in marks.representations(model)] == ["end", "below", "age_end"]
    assert marks.representation(model).name == "end"
    for mark in marks.representations(model):
        assert marks.representation(model, below=mark.output) is mark
    assert [
        (block.name, set(block.layers) - {image._keras_history.operation.name})
        for block in marks.blocks(model)
    ] == [
        ("low", {"low"}),
        ("high", {"high", "age_high"}),
    ]


def test_outputs_are_in_the_order_of_the_model():
    inputs = keras.Input((3,))
    answers = {
        name: layers.TaskOutput(tasks.Classification(3), name=name)(inputs)
        for name in ("z", "a", "m")
    }
    model = keras.Model(inputs, answers)
    assert list(marks.outputs(model)) == list(model.output)


def test_tasks_with_hard_sharing_share_the_representation(tmp_path):
    model = kt.build_model(kt.backbone("tiny", weights=None), TASKS)
    assert marks.shared(model) == [marks.representation(model).output]
    model.save(tmp_path / "m.keras")
    again = kt.load_model(tmp_path / "m.keras")
    assert marks.shared(again) == [marks.representation(again).output]


def test_a_single_task_shares_nothing():
    assert marks.shared(kt.build_model(kt.backbone("tiny", weights=None), TASKS["kind"])) == []


@pytest.mark.parametrize("name", marks.__all__)
def test_the_old_place_of_a_verb_warns_and_names_the_new_one(name):
    with pytest.warns(
        DeprecationWarning, match=rf"keras_transfer\.(models|layers\.marks)\.{name}`"
    ):
        assert getattr(layers, name) is getattr(marks, name)


def test_the_new_places_exist():
    for name in ("blocks", "outputs", "representation", "shared"):
        assert getattr(kt.models, name) is getattr(marks, name)


def test_layers_publishes_layers_only():
    for name in layers.__all__:
        assert issubclass(getattr(layers, name), keras.layers.Layer)
    with pytest.raises(AttributeError, match="`kt.layers` has no such name. Given: 'outptus'"):
        layers.outptus  # noqa: B018
