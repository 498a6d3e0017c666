import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks


def test_an_identity_start_are_separate_models(small):
    network = small.network()
    plain = kt.build_model(network, small.tasks())
    model = kt.build_model(
        network, small.tasks(), sharing=kt.models.CrossStitched("block*", own=1.0)
    )
    small.same_heads(model, plain)
    for key, values in small.answers(plain).items():
        np.testing.assert_array_equal(small.answers(model)[key], values)
    assert not {id(variable) for variable in network.weights} & {
        id(variable) for variable in model.weights
    }


def test_of_equal_trunks_any_mixture_is_the_same(small):
    """The copies start equal and the shares sum to 1, so answers differ by rounding only."""
    network = small.network()
    plain = kt.build_model(network, small.tasks())
    model = kt.build_model(network, small.tasks(), sharing="cross_stitch")
    small.same_heads(model, plain)
    for key, values in small.answers(plain).items():
        np.testing.assert_allclose(small.answers(model)[key], values, rtol=1e-5, atol=1e-6)


def test_trunks_look_at_each_other(small):
    model = kt.build_model(small.network(), small.tasks(), sharing="cross_stitch")
    before = small.answers(model)
    model.get_layer("age_stem_conv").kernel.assign(model.get_layer("age_stem_conv").kernel * 2)
    assert np.abs(small.answers(model)["kind"] - before["kind"]).max() > 0
    assert {path for path, each in small.gradients(model, "kind").items() if each is not None and each.any()} >= {
        "age_block1_a/kernel", "cross_stitch_1/matrix", "cross_stitch_2/matrix",
    }  # fmt: skip


def test_where_it_mixes(small, capsys):
    kt.build_model(small.network(), small.tasks(), sharing="cross_stitch")
    assert "activations are mixed after block2_relu, block3_conv" in capsys.readouterr().out
    model = kt.build_model(
        small.network(), small.tasks(), sharing=kt.models.CrossStitched(["stem", "block1_relu"])
    )
    assert "mixed" not in capsys.readouterr().out
    assert [tensor.shape for tensor in model.get_layer("cross_stitch_2").output] == [
        (None, 8, 8, 8)
    ] * 2
    assert [t.shape for t in kt.models.shared(model)] == [(None, 8, 8, 8)] * 2
    assert kt.models.shared(model) == list(model.get_layer("cross_stitch_2").input)


def test_stages_go_through_all_trunks_alike(small):
    model = kt.build_model(small.network(), small.tasks(), sharing="cross_stitch")
    heads = {"cross_stitch_1", "cross_stitch_2", "kind_logits", "age_logits"}
    for train, expected in {
        "head": set(),
        1: {"kind_block3_conv", "age_block3_conv"},
        "age_block3*": {"age_block3_conv"},
        "block3*": {"kind_block3_conv", "age_block3_conv"},
    }.items():
        kt.Stage(epochs=1, train=train).apply(model)
        assert set(small.trains(model)) == expected | heads, train


def test_a_network_of_vectors_mixes_after_every_block(small, capsys):
    network = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Flatten(),
            *(keras.layers.Dense(4, name=n) for n in ("one", "two")),
        ],
        name="flat",
    )
    model = kt.build_model(network, small.tasks(), sharing="cross_stitch")
    assert "mixed after one, two" in capsys.readouterr().out
    assert np.isfinite(model.fit(small.pixels, small.targets, verbose=0).history["loss"][0])


def test_a_stitch_within_a_block_leaves_it_whole(small):
    """In a network whose blocks are found by their weights, too: a stitch has weights and begins none."""
    x = image = keras.Input((16, 16, 3))
    for name in ("one", "two"):
        x = keras.layers.Conv2D(4, 3, name=name)(x)
        x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
        x = keras.layers.ReLU(name=f"{name}_relu")(x)
    scheme = kt.models.CrossStitched("one_norm")
    model = kt.build_model(keras.Model(image, x, name="plain"), small.tasks(), sharing=scheme)
    first = image._keras_history.operation.name
    assert {block.name: set(block.layers) - {first} for block in kt.models.blocks(model)} == {
        name: {
            f"{task}_{name}{part}" for task in ("kind", "age") for part in ("", "_norm", "_relu")
        }
        for name in ("one", "two")
    }


def test_bad_arguments(small):
    with pytest.raises(checks.InputError, match="`own` must be a number at least 0"):
        kt.models.CrossStitched(own=-1)
    with pytest.raises(checks.InputError, match="`weights` must be one of 'channel', 'all'"):
        kt.models.CrossStitched(weights="place")
    with pytest.raises(checks.InputError, match="`at` must match a block or layer. Given: 'blok'"):
        kt.build_model(small.network(), small.tasks(), sharing=kt.models.CrossStitched("blok"))
