"""What trains and what does not, proved on the weights: frozen is bit-equal, unfrozen moved."""

import keras
import numpy as np
import pytest
from networks import shallow

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.training import freezing

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype("float32")
LABELS = np.arange(8) % 2


def model_of(name, size=64, **arguments):
    return kt.build_model(
        kt.backbone(name, weights=None, image_size=size, **arguments), kt.tasks.Classification(2)
    )


def snapshot(model):
    return {
        path: keras.ops.convert_to_numpy(variable)
        for path, variable in paths.variables(model).items()
    }


def moved(before, after):
    return {path for path in before if not np.array_equal(before[path], after[path])}


FAMILIES = {
    "ResNet": "conv5_block2*",
    "EfficientNet": "block7a*",
    "ConvNeXt": "convnext_stage_3_block_1*",
}


@pytest.mark.parametrize(
    ("family", "above"),
    [
        pytest.param(*family, marks=[pytest.mark.compiled] * (family[0] == "ResNet"))
        for family in FAMILIES.items()
    ],
)
def test_frozen_is_bit_equal_and_unfrozen_moved(family, above):
    """Batch-norm statistics included; with Adam and noise as images every trainable weight gets a gradient."""
    model = kt.build_model(shallow(family), kt.tasks.Classification(2))
    for stage, train in enumerate(("head", above)):
        freezing.set_trainable(model, freezing.pick(model, train))
        # Gradients that random weights make small move a weight by a whole rate, too.
        adam = keras.optimizers.Adam(1e-3, epsilon=1e-20)
        model.compile(adam, "sparse_categorical_crossentropy", jit_compile=False)
        before = snapshot(model)
        model.fit(PIXELS, LABELS, batch_size=4, epochs=2, verbose=0)
        after = snapshot(model)
        trained = {id(variable) for variable in model.trainable_variables}
        expected = {
            path for path, variable in paths.variables(model).items() if id(variable) in trained
        }
        assert moved(before, after) == expected
        assert bool(
            expected - {"classification_logits/kernel", "classification_logits/bias"}
        ) == bool(stage)


def test_training_batch_norm_moves_its_statistics():
    model = model_of("tiny", 32)
    freezing.set_trainable(model, freezing.pick(model, "all"), batch_norm="train")
    kt.compile(model)
    before = snapshot(model)
    model.fit(PIXELS, LABELS, verbose=0)
    assert {path for path in before if "moving" in path} <= moved(before, snapshot(model))


@pytest.mark.compiled
def test_calling_with_training_false_does_not_freeze_but_our_flags_do():
    """The naive way of many tutorials: the functional graph is called by `fit` with training=True all the same."""
    backbone = kt.backbone("tiny", weights=None)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(backbone(inputs, training=False))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="head")(x))

    def statistics_moved():
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
        before = snapshot(model)
        model.fit(PIXELS, LABELS, verbose=0)
        return any("moving" in path for path in moved(before, snapshot(model)))

    assert statistics_moved(), "Keras has changed: training=False holds now"
    kt.freeze(model, below="head")
    assert not statistics_moved()
    kt.unfreeze(model)
    assert not statistics_moved(), "thawed, but batch-norm stays in inference mode"


def test_the_result_does_not_depend_on_the_flags_before():
    flags = []
    for first in (None, "head", "all"):
        model = model_of("tiny", 32)
        if first:
            freezing.set_trainable(model, freezing.pick(model, first), batch_norm="train")
        freezing.set_trainable(model, freezing.pick(model, "block3"))
        flags.append({path: layer.trainable for path, layer in paths.leaves(model).items()})
    assert flags[0] == flags[1] == flags[2]


def test_head_of_models_with_and_without_the_mark():
    assert freezing.head(model_of("tiny", 32)) == [
        "classification_pool",
        "classification_logits",
        "classification",
    ]
    plain = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Conv2D(2, 3, name="conv"), keras.layers.GlobalMaxPooling2D(name="pool"),
         keras.layers.Dense(2, name="out")]
    )  # fmt: skip
    assert freezing.head(plain) == ["pool", "out"]
    vectors = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")]
    )
    assert freezing.head(vectors) == ["b"]


def test_a_block_name_means_the_whole_block():
    model = model_of("InceptionV3", 75)
    chosen = freezing.pick(model, "mixed9")
    block = next(block for block in kt.models.blocks(model) if block.name == "mixed9")
    assert chosen[: len(block.layers)] == list(block.layers)
    assert "classification_logits" in chosen


def test_everything_above_a_pattern():
    model = model_of("MobileNetV2", 64, alpha=0.35)
    chosen = freezing.pick(model, "block_13*")
    assert chosen[0] == "block_13_expand"
    assert "block_12_project" not in chosen
    assert "block_16_project" in chosen
    assert chosen[-1] == "classification"


def test_freeze_and_unfreeze_tell_what_they_did():
    model = model_of("tiny", 32)
    frozen = kt.freeze(model, below="block3")
    assert frozen[0] == "stem_conv"
    assert not any(path.startswith(("block3", "block4", "classification")) for path in frozen)
    assert next(variable.path for variable in model.trainable_variables).startswith("block3")
    trained = kt.unfreeze(model, above="block2")
    assert trained[0] == "block2_1_conv"
    assert not any(path.endswith("_bn") and path.startswith("block2") for path in trained)


def test_flags_survive_saving(tmp_path):
    model = model_of("tiny", 32)
    kt.freeze(model, below="block3")
    kt.compile(model)
    model.save(tmp_path / "m.keras")
    again = kt.load_model(tmp_path / "m.keras")
    assert len(again.trainable_variables) == len(model.trainable_variables)


def test_a_saved_model_follows_the_policy_of_batch_norm(module_folders):
    """Freezing says nothing about it, so the mode stays; a module that has no modes shows none."""
    backbone = kt.backbone(module_folders["plain"], preprocess="tf", image_size=32, trust=True)
    model = kt.build_model(backbone, kt.tasks.Classification(2))
    layer = model.get_layer("saved_model")
    told = {}
    for verb, batch_norm in (
        (lambda: kt.unfreeze(model, batch_norm="train"), "train"),
        (lambda: kt.freeze(model, below="classification_logits"), "train"),
        (lambda: kt.unfreeze(model), "inference"),
    ):
        verb()
        assert layer.batch_norm == batch_norm
        (row,) = (
            row for row in kt.trainable_table(model, layers=True) if row["path"] == "saved_model"
        )
        assert row["parameters"] == sum(np.prod(variable.shape) for variable in layer.weights)
        told[row["mode"]] = row["trainable"]
    assert told == {
        "yes (batch statistics)": True,
        "no (inference mode)": False,
        "yes (inference mode)": True,
    }
    signature = kt.backbone(
        module_folders["tf_keras"], output="serving_default", preprocess="tf", trust=True
    )
    assert [row["mode"] for row in kt.trainable_table(signature, layers=True)] == ["yes"]


@pytest.mark.parametrize(("verb", "argument"), [(kt.freeze, "below"), (kt.unfreeze, "above")])
def test_unknown_layer(verb, argument):
    with pytest.raises(
        checks.InputError,
        match=f"`{argument}` must match a block or layer. Given: 'blok3'. Close: 'block3'",
    ):
        verb(model_of("tiny", 32), **{argument: "blok3"})


def test_unknown_batch_norm():
    with pytest.raises(checks.InputError, match="`batch_norm` must be one of 'inference', 'train'"):
        freezing.set_trainable(model_of("tiny", 32), [], batch_norm="frozen")
