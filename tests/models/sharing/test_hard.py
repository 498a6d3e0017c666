import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.layers import marks
from keras_transfer.training.methods import head_fitting


def test_a_head_starts_at_its_level(small):
    model = kt.build_model(small.network(), small.tasks(level="P2"))
    assert model.get_layer("age_logits").kernel.shape == (8, 1)
    assert model.get_layer("kind_logits").kernel.shape == (16, 3)
    mark = kt.models.representation(model, below=model.get_layer("age").output)
    assert mark.name == "representation_P2"
    assert mark.input is model.get_layer("block2_relu").output
    assert kt.models.representation(model).name == "representation"
    assert kt.models.shared(model) == [mark.input]


def test_what_no_head_needs_is_left_out(small):
    both = {"kind": kt.tasks.Classification(3, level="P2"), "age": kt.tasks.Regression(level="P2")}
    model = kt.build_model(small.network(), both)
    assert [block.name for block in kt.models.blocks(model)] == ["stem", "block1", "block2"]
    kt.Stage(epochs=1, train="head").apply(model)
    assert small.trains(model) == {"kind_logits", "age_logits"}
    assert kt.models.representation(model).source["name"] == "small"


def test_the_uppermost_level_is_the_end(small):
    model = kt.build_model(small.network(), kt.tasks.Classification(3, level="P3"))
    assert [mark.name for mark in marks.representations(model)] == ["representation"]


def test_a_level_above_a_frozen_one_thaws_alone(small):
    model = kt.build_model(small.network(), small.tasks(level="P2"))
    kt.Stage(epochs=1, train="block3*").apply(model)
    assert small.trains(model) == {"block3_conv", "kind_logits", "age_logits"}


def test_an_unknown_level(small):
    with pytest.raises(checks.InputError, match="`level` must be a known name. Given: 'P5'"):
        kt.build_model(small.network(), small.tasks(level="P5"))


def test_a_head_at_a_level_can_be_solved_for(small):
    model = kt.build_model(small.network(), small.tasks(level="P2"))
    found, skipped = head_fitting.heads(model)
    assert skipped == {}
    assert {name: head.pool.input.shape[-1] for name, head in found.items()} == {
        "kind": 16,
        "age": 8,
    }


def test_a_stopped_task_leaves_the_trunk_bit_equal(small):
    """The other one has no weight, so its gradient is 0."""
    model = kt.build_model(
        small.network(), small.tasks(stop_gradient=True), balancing={"kind": 0.0}
    )
    kernel = np.array(model.get_layer("block3_conv").kernel)
    head = np.array(model.get_layer("age_logits").kernel)
    model.fit(small.pixels, small.targets, verbose=0)
    np.testing.assert_array_equal(np.array(model.get_layer("block3_conv").kernel), kernel)
    assert np.abs(np.array(model.get_layer("age_logits").kernel) - head).max() > 0
