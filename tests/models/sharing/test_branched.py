import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.layers import marks
from keras_transfer.training import freezing
from keras_transfer.training.methods import head_fitting


def branched(small, at, **options):
    return kt.build_model(small.network(), small.tasks(**options), sharing=at)


@pytest.mark.parametrize("place", ["stem*", "block1_b", "block1*", "block2_bn", "block3_conv"])
def test_before_training_a_branch_changes_nothing(small, place):
    """Within a residual block as well, where two tensors cross; statistics of batch normalisations are copied."""
    network = small.network()
    plain = kt.build_model(network, small.tasks())
    model = kt.build_model(network, small.tasks(), sharing={"age": place})
    small.same_heads(model, plain)
    for key, values in small.answers(plain).items():
        np.testing.assert_array_equal(small.answers(model)[key], values)


def test_below_a_branch_layers_are_shared_and_above_they_are_not(small):
    network = small.network()
    model = kt.build_model(network, small.tasks(), sharing={"age": "block2*"})
    names = {layer.name for layer in model.layers}
    assert {name for name in names if name.startswith("age_block")} == {
        "age_block2_conv", "age_block2_bn", "age_block2_relu", "age_block3_conv",
    }  # fmt: skip
    assert "age_block1_a" not in names
    assert model.get_layer("block2_conv") is network.get_layer("block2_conv")
    before = np.array(model.get_layer("block2_conv").kernel)
    model.get_layer("age_block2_conv").kernel.assign(before + 1)
    np.testing.assert_array_equal(np.array(model.get_layer("block2_conv").kernel), before)
    assert kt.models.shared(model) == [model.get_layer("block1_relu").output]


def test_within_a_residual_block_two_tensors_are_shared(small):
    model = branched(small, {"age": "block1_b"})
    assert kt.models.shared(model) == [
        model.get_layer(name).output for name in ("stem_bn", "block1_a")
    ]


@pytest.mark.compiled
def test_branched_at_the_input_are_two_models(small):
    """The same answers; and the same weights after steps of SGD, but for the order in which sums are formed."""
    network = small.network()
    model = kt.build_model(network, small.tasks(), sharing={"kind": "stem*", "age": "stem*"})
    assert kt.models.shared(model) == []
    alone = {}
    for name, task in small.tasks().items():
        copy = kt.backbones.base.Backbone.from_config(network.get_config())
        copy.set_weights(network.get_weights())
        alone[name] = kt.build_model(copy, {name: task})
        theirs = paths.variables(model)
        for path, variable in paths.variables(alone[name]).items():
            if path.startswith(name):
                variable.assign(theirs[path])
    answers = small.answers(model)
    for name, other in alone.items():
        np.testing.assert_array_equal(answers[name], small.answers(other)[name])
    for each, targets in [
        (model, small.targets),
        *((m, {n: small.targets[n]}) for n, m in alone.items()),
    ]:
        kt.compile(each, optimizer=keras.optimizers.SGD(0.01))
        each.fit(small.pixels, targets, batch_size=4, epochs=3, shuffle=False, verbose=0)
    found = paths.variables(model)
    for name, other in alone.items():
        moved = 0.0
        for path, variable in paths.variables(other).items():
            mine = found[path if path.startswith(name) else f"{name}_{path}"]
            np.testing.assert_allclose(np.array(mine), np.array(variable), atol=1e-6)
            if path.endswith("stem_conv/kernel"):
                moved = np.abs(
                    np.array(variable) - np.array(network.get_layer("stem_conv").kernel)
                ).max()
        assert moved > 1e-4


def test_several_tasks_branch_at_different_places(small):
    three = {**small.tasks(), "mood": kt.tasks.Classification(2)}
    network = small.network()
    model = kt.build_model(network, three, sharing={"age": "block3*", "mood": "block2*"})
    plain = kt.build_model(network, three)
    small.same_heads(model, plain)
    for key, values in small.answers(plain).items():
        np.testing.assert_array_equal(small.answers(model)[key], values)
    assert kt.models.shared(model) == [model.get_layer("block1_relu").output]
    inside = {block.name: block.layers for block in kt.models.blocks(model)}
    assert set(inside["block3"]) == {"block3_conv", "age_block3_conv", "mood_block3_conv"}
    assert {path for path in inside["block2"] if path.startswith("mood")} == {
        "mood_block2_conv", "mood_block2_bn", "mood_block2_relu",
    }  # fmt: skip


HEADS = {"kind_logits", "age_logits"}


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ("head", set()),
        (1, {"block3_conv", "age_block3_conv"}),
        (2, {"block2_conv", "age_block2_conv", "block3_conv", "age_block3_conv"}),
        ("block3*", {"block3_conv", "age_block3_conv"}),
        ("age_block2*", {"age_block2_conv", "age_block3_conv"}),
        ("block2_conv", {"block2_conv", "block3_conv"}),
        (
            "block1_b",
            {"block1_b", "block2_conv", "age_block2_conv", "block3_conv", "age_block3_conv"},
        ),
    ],
)
def test_stages_mean_something_sensible(small, train, expected):
    model = branched(small, {"age": "block2*"})
    kt.Stage(epochs=1, train=train).apply(model)
    assert set(small.trains(model)) == expected | HEADS


def test_only_and_freeze_find_copies(small):
    model = branched(small, {"age": "block2*"})
    kt.Stage(epochs=1, only=["head", "age_block3*"]).apply(model)
    assert set(small.trains(model)) == {"age_block3_conv"} | HEADS
    kt.Stage(epochs=1, only=["block3"]).apply(model)
    assert set(small.trains(model)) == {"age_block3_conv", "block3_conv"}
    kt.unfreeze(model, above="all")
    kt.freeze(model, below="age_block3*")
    assert set(small.trains(model)) == {"age_block3_conv"} | HEADS


def test_heads_on_branches_can_be_solved_for(small):
    """Which is what the default plan does first."""
    model = branched(small, {"age": "block2*"})
    found, skipped = head_fitting.heads(model)
    assert skipped == {}
    assert {name: head.below for name, head in found.items()} == {
        "kind": "kind_pool",
        "age": "age_pool",
    }


def test_cached_training_is_uncached_training(small):
    """The cache holds what crosses on the trunk and within the branch; what is frozen stays bit-equal."""
    pixels = np.random.default_rng(0).integers(0, 256, (14, 16, 16, 3), dtype="uint8")
    targets = {"kind": np.arange(14) % 3, "age": np.linspace(0, 7, 14).astype("float32")}
    data = kt.data.from_arrays(pixels, targets, validation=0, batch_size=4, seed=0)
    found = []
    for cache in ("off", "memory"):
        keras.utils.set_random_seed(0)
        model = branched(small, {"age": "block2*"})
        before = {path: np.array(value) for path, value in paths.variables(model).items()}
        stage = kt.Stage(epochs=2, train="age_block3*", learning_rate=1e-2)
        history = kt.fine_tune(model, data, stages=[stage], cache=cache, seed=0, verbose=0)
        after = {path: np.array(value) for path, value in paths.variables(model).items()}
        moved = {
            path.partition("/")[0]
            for path in before
            if not np.array_equal(after[path], before[path])
        }
        assert moved == HEADS | {
            "age_block3_conv",
            "age",
            "balance",
        }  # a unit, and the losses that were seen
        found.append((after, history))
    for path, value in found[0][0].items():
        np.testing.assert_array_equal(found[1][0][path], value, err_msg=path)
    assert found[0][1].history == found[1][1].history
    assert [facts["of"] for facts in found[1][1].record["cache"]]


def test_a_level_within_the_branch(small):
    model = branched(small, {"age": "block1*"}, level="P2")
    ends = [mark.name for mark in marks.representations(model)]
    assert ends == ["representation", "age_representation_P2"]
    assert "age_block3_conv" not in {layer.name for layer in model.layers}
    kt.Stage(epochs=1, train="head").apply(model)
    assert set(small.trains(model)) == HEADS
    with pytest.raises(checks.InputError, match="a branch must begin below the level"):
        branched(small, {"age": "block3*"}, level="P2")


def test_a_task_of_several_levels_on_a_branch(small):
    """Levels above the branch are its own, those below the trunk's; before training nothing changes."""
    tasks = {"kind": kt.tasks.Classification(2), "mask": kt.tasks.Segmentation(2, width=4)}
    network = kt.backbone("tiny", weights=None)
    plain = kt.build_model(network, tasks)
    model = kt.build_model(network, tasks, sharing={"mask": "block3*"})
    small.same_heads(model, plain)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype="uint8")
    for key, values in plain.predict_on_batch(pixels).items():
        np.testing.assert_array_equal(model.predict_on_batch(pixels)[key], values)

    ends = {mark.name: mark.branch for mark in marks.representations(model)}
    assert ends["mask_representation_P2"] == ""
    assert ends["mask_representation"] == "mask"
    names = {layer.name for layer in model.layers}
    assert "mask_block4_1_conv" in names
    assert "mask_block2_conv" not in names
    kt.Stage(epochs=1, train="head").apply(model)
    training = [weight.path for weight in model.trainable_weights]
    assert training
    assert not [path for path in training if "block" in path]


def test_a_branch_that_would_never_learn(small):
    with pytest.raises(
        checks.InputError, match="`stop_gradient` must be left out for a task with a branch"
    ):
        branched(small, {"age": "block3*"}, stop_gradient=True)


def test_names_of_copies_leave_those_of_heads_alone():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.Conv2D(4, 3, name="age_conv")(x)
    network = keras.Model(image, keras.layers.AveragePooling2D(2, name="pool")(x), name="mine")
    tasks = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
    model = kt.build_model(network, tasks, sharing={"age": "conv"})
    names = {layer.name for layer in model.layers}
    assert {"age_conv", "age_conv_1", "age_age_conv", "pool", "age_trunk_pool", "age_pool"} <= names
    kt.Stage(epochs=1, train="head").apply(model)
    assert set(freezing.head(model)) == {
        "balance", "kind_pool", "kind_logits", "kind", "age_pool", "age_logits", "age",
    }  # fmt: skip


def test_copies_keep_their_flags_and_options(small):
    network = small.network()
    network.get_layer("block2_conv").trainable = False
    model = kt.build_model(network, small.tasks(), sharing={"age": "block2*"})
    copy, original = (model.get_layer(f"{prefix}block2_conv") for prefix in ("age_", ""))
    assert {**copy.get_config(), "name": ""} == {**original.get_config(), "name": ""}


def test_a_saved_model_is_copied_as_a_whole(small, module_folders, capsys):
    network = kt.backbone(str(module_folders["plain"]), image_size=16, trust=True, preprocess="0-1")
    plain = kt.build_model(network, small.tasks())
    block = kt.models.blocks(plain)[-1].name
    model = kt.build_model(network, small.tasks(), sharing={"age": block})
    small.same_heads(model, plain)
    for key, values in small.answers(plain).items():
        np.testing.assert_array_equal(small.answers(model)[key], values)
    copies = [layer for layer in model.layers if isinstance(layer, kt.layers.SavedModelLayer)]
    assert len(copies) == 2
    assert not {id(v) for v in copies[0].weights} & {id(v) for v in copies[1].weights}
