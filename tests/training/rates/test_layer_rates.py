import keras
import numpy as np
import pytest
from networks import small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.layers import marks
from keras_transfer.optimizers import schedules
from keras_transfer.optimizers.per_variable import SCALED
from keras_transfer.training.rates import layer_rates as rates
from keras_transfer.training.rates.layer_rates import layer_rates, learning_rates, multi_optimizer

RNG = np.random.default_rng(0)
PIXELS, LABELS = RNG.integers(0, 256, (8, 32, 32, 3)).astype("float32"), np.arange(8) % 3


def model_of(**arguments):
    keras.utils.set_random_seed(0)
    return kt.build_model(
        kt.backbone("tiny", weights=None), kt.tasks.Classification(3, **arguments)
    )


def small_model(**arguments):
    keras.utils.set_random_seed(0)
    return kt.build_model(small(), kt.tasks.Classification(3, **arguments))


def own(name, inputs, *made):
    x = inputs
    for layer in made:
        x = layer(x)
    return keras.Model(inputs, x, name=name)


def rate_of(optimizer, model):
    """The rate of each variable, from what is saved with the optimizer."""
    config = optimizer.get_config()
    found = {}
    for variable, (path, shape, group, _) in zip(
        model.trainable_variables, config["rows"], strict=True
    ):
        assert (variable.path, tuple(variable.shape)) == (path, tuple(shape))
        found[variable.path] = config["learning_rate"] * config["factors"][group]
    return found


def timm_scales(names, decay):
    """`param_groups_layer_decay`: ids from 0 at the bottom, the head has the last."""
    layer_map = {name: index for index, name in enumerate([*names, "head"])}
    num_layers = max(layer_map.values()) + 1
    layer_max = num_layers - 1
    return {name: decay ** (layer_max - index) for name, index in layer_map.items()}


@pytest.mark.parametrize("decay", [0.5, 0.75, 0.9])
def test_layer_wise_decay_is_timms(decay):
    model = model_of()
    blocks = {path: block.name for block in marks.blocks(model) for path in block.layers}
    expected = timm_scales(dict.fromkeys(blocks.values()), decay)
    optimizer = layer_rates("adam", model, decay=decay, learning_rate=1.0)
    assert optimizer.learning_rates == pytest.approx(expected, rel=1e-6)
    for path, rate in rate_of(optimizer, model).items():
        assert rate == pytest.approx(expected[blocks.get(path.rpartition("/")[0], "head")])


def test_layer_wise_decay_of_a_deep_network():
    model = kt.build_model(
        kt.backbone("MobileNetV2", weights=None, image_size=32, alpha=0.35), kt.tasks.Regression()
    )
    names = [block.name for block in marks.blocks(model)]
    found = layer_rates("adam", model, decay=0.8, learning_rate=1.0).learning_rates
    assert found == pytest.approx(timm_scales(names, 0.8), rel=1e-6)
    assert len(found) == len(names) + 1 >= 18


def test_frozen_blocks_count_but_have_no_rate():
    model = model_of()
    everything = layer_rates("adam", model, decay=0.5).learning_rates
    kt.freeze(model, below="block3")
    optimizer = layer_rates("adam", model, decay=0.5)
    assert optimizer.learning_rates == {
        name: everything[name] for name in ("block3", "block4", "head")
    }
    assert len(optimizer.get_config()["rows"]) == len(model.trainable_variables)
    kt.compile(model, optimizer=optimizer)
    model.fit(PIXELS, LABELS, verbose=0)


def test_equal_rates_are_the_plain_optimizer():
    model = model_of()
    for optimizer in ("adam", "AdamW", "sgd", "lamb", keras.optimizers.RMSprop(0.1)):
        assert type(layer_rates(optimizer, model)) in vars(keras.optimizers).values()
    mine = keras.optimizers.Nadam(0.3)
    assert layer_rates(mine, model, decay=1.0, rates={}) is mine
    assert layer_rates("adamw", model).weight_decay == 0.004
    assert layer_rates("adamw", model, weight_decay=0).weight_decay == 0
    assert layer_rates("adam", model, weight_decay=0.0).weight_decay is None
    assert float(layer_rates("sgd", model, learning_rate=0.5).learning_rate) == 0.5


def test_other_settings_are_taken_over():
    given = keras.optimizers.Adam(0.2, beta_2=0.9, use_ema=True, clipnorm=0.3, name="mine")
    optimizer = layer_rates(given, model_of(), decay=0.5)
    expected = {
        **given.get_config(),
        **{name: optimizer.get_config()[name] for name in ("factors", "rows")},
    }
    assert optimizer.get_config() == expected
    assert isinstance(optimizer, SCALED["Adam"])


def test_rates_by_pattern():
    """Blocks, layers, variables and the head; the first that matches counts, and the rest keeps the rate."""
    model = model_of(hidden=[4])
    asked = {"block2": 0.5, "beta": 0.25, "head": 0.125, "block4*": 0.0625}
    optimizer = layer_rates("sgd", model, rates=asked, learning_rate=0.01)
    assert optimizer.learning_rates == {**asked, "*": 0.01}
    of = {path: id(variable) for path, variable in paths.variables(model).items()}
    by_id = {
        id(one): rate
        for one, rate in zip(
            model.trainable_variables, rate_of(optimizer, model).values(), strict=True
        )
    }
    block2 = next(block.layers for block in marks.blocks(model) if block.name == "block2")
    seen = set()
    for path, key in of.items():
        if key not in by_id:
            continue
        layer = path.rpartition("/")[0]
        if layer in block2:
            expected = 0.5
        elif path.endswith("/beta"):
            expected = 0.25
        elif layer.startswith("classification"):
            expected = 0.125
        else:
            expected = 0.0625 if "block4" in layer else 0.01
        assert by_id[key] == pytest.approx(expected, rel=1e-6), path
        seen.add(expected)
    assert len(seen) >= 4


def test_a_pattern_overrides_the_decay():
    found = layer_rates(
        "sgd", model_of(), rates={"block4": 0.3}, decay=0.5, learning_rate=0.1
    ).learning_rates
    assert found == pytest.approx(
        {
            "stem": 0.1 / 32,
            "block1": 0.1 / 16,
            "block2": 0.1 / 8,
            "block3": 0.1 / 4,
            "block4": 0.3,
            "head": 0.1,
        },
        rel=1e-6,
    )


@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_rates_beside_a_schedule(name):
    """A pattern's rate is the highest: its layers follow the schedule, `rate / peak` times it."""
    schedule = schedules.make(name, 0.1, steps=10)
    optimizer = layer_rates(
        "sgd", model_of(), rates={"block4": 0.05, "head": 0.2}, learning_rate=schedule
    )
    now = float(schedule(0))
    assert optimizer.learning_rates == pytest.approx(
        {"block4": now / 2, "head": now * 2, "*": now}, rel=1e-6
    )
    given = layer_rates(
        keras.optimizers.SGD(schedule), model_of(), rates={"block4": 0.05, "head": 0.2}
    )
    assert given.get_config()["factors"] == optimizer.get_config()["factors"]


def test_a_step_is_in_proportion():
    """One step of SGD in `fit` moves each block by its factor times what the plain optimizer moves it."""
    moved = []
    for decay in (1.0, 0.5):
        model = model_of()
        kt.compile(model, optimizer=layer_rates("sgd", model, decay=decay, learning_rate=0.1))
        before = {one.path: keras.ops.convert_to_numpy(one) for one in model.trainable_variables}
        model.fit(PIXELS, LABELS, verbose=0)
        moved.append(
            {
                one.path: keras.ops.convert_to_numpy(one) - before[one.path]
                for one in model.trainable_variables
            }
        )
    optimizer = model.optimizer
    factors = {path: rate / 0.1 for path, rate in rate_of(optimizer, model).items()}
    for path, step in moved[0].items():
        np.testing.assert_allclose(moved[1][path], factors[path] * step, rtol=1e-3, atol=1e-7)


def test_weight_decay_takes_from_kernels_only():
    inputs = keras.Input((4, 6))
    x = keras.layers.MultiHeadAttention(2, 3, name="attention")(inputs, inputs)
    x = keras.layers.LayerNormalization(axis=(1, 2), name="norm")(x)
    x = keras.layers.PReLU(name="slope")(x)
    x = keras.layers.BatchNormalization(name="batch")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Dense(2, name="top")(x))
    names = ["query/kernel", "key/kernel", "value/kernel", "attention_output/kernel", "top/kernel"]
    assert ["/".join(one.path.split("/")[-2:]) for one in rates.decayed(model)] == names
    assert {len(one.shape) for one in model.trainable_variables if "query/bias" in one.path} == {2}
    for name in ("adam", "adamw", "muon"):
        optimizer = layer_rates(name, model, weight_decay=0.1, learning_rate=0.5)
        optimizer.build(model.trainable_variables)
        before = [keras.ops.convert_to_numpy(one) + 1 for one in model.trainable_variables]
        for one, value in zip(model.trainable_variables, before, strict=True):
            one.assign(value)
        optimizer._apply_weight_decay(model.trainable_variables)
        kernels = {id(one) for one in rates.decayed(model)}
        for one, value in zip(model.trainable_variables, before, strict=True):
            share = 0.95 if id(one) in kernels else 1.0
            np.testing.assert_allclose(keras.ops.convert_to_numpy(one), share * value, rtol=1e-6)


def test_a_given_optimizer_decays_what_it_did():
    model = model_of()
    given = keras.optimizers.AdamW(weight_decay=0.1)
    assert all(decays for *_, decays in layer_rates(given, model, decay=0.5).get_config()["rows"])
    given = keras.optimizers.AdamW(weight_decay=0.1)
    given.exclude_from_weight_decay(var_names=["bias"])
    for path, _, _, decays in layer_rates(given, model, decay=0.5).get_config()["rows"]:
        assert decays == ("bias" not in path)


def test_frozen_kernels_do_not_decay():
    model = model_of()
    kt.freeze(model, below="block4")
    assert {one.path.split("/")[0] for one in rates.decayed(model)} == {
        "block4_1_conv",
        "classification_logits",
    }


def test_a_nested_network_has_its_own_blocks():
    inner = [keras.layers.Conv2D(4, 3, padding="same", name=f"conv{index}") for index in range(3)]
    base = own("base", keras.Input((8, 8, 3)), *inner)
    pooled = keras.layers.GlobalAveragePooling2D()
    model = own("whole", keras.Input((8, 8, 3)), base, pooled, keras.layers.Dense(2, name="top"))
    found = layer_rates("sgd", model, decay=0.5, learning_rate=1.0).learning_rates
    assert found == {"base/conv0": 0.125, "base/conv1": 0.25, "base/conv2": 0.5, "head": 1.0}
    assert layer_rates("sgd", model, rates={"conv1": 0.3}, learning_rate=1.0).learning_rates == {
        "*": 1.0,
        "conv1": 0.3,
    }


def test_equal_names_in_two_nested_networks():
    def base(name):
        return own(
            name, keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 3, padding="same", name="conv")
        )

    made = [
        base("one"),
        base("two"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(2, name="top"),
    ]
    model = own("whole", keras.Input((8, 8, 3)), *made)
    assert len({one.path for one in model.trainable_variables}) == 4
    optimizer = layer_rates(
        "sgd", model, rates={"one/conv": 0.25, "two/conv": 0.5}, learning_rate=1.0
    )
    model.compile(optimizer, "mse")
    before = model.get_weights()
    expected = keras.models.clone_model(model)
    expected.set_weights(before)
    expected.compile(keras.optimizers.SGD(1.0), "mse")
    for one in (model, expected):
        one.train_on_batch(PIXELS[:, :8, :8], np.zeros((8, 2)))
    for value, plain, start, factor in zip(
        model.get_weights(),
        expected.get_weights(),
        before,
        (0.25, 0.25, 0.5, 0.5, 1, 1),
        strict=True,
    ):
        np.testing.assert_allclose(value - start, factor * (plain - start), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "policy", ["float32", pytest.param("mixed_float16", marks=pytest.mark.compiled)]
)
def test_the_history_has_the_rates(policy):
    keras.mixed_precision.set_global_policy(policy)
    model = small_model()
    kt.compile(model, optimizer=layer_rates("adam", model, rates={"head": 0.5}, learning_rate=0.25))
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.25 * 0.5**epoch)
    history = model.fit(
        PIXELS, LABELS, epochs=2, verbose=0, callbacks=[halve, rates.LogRates()]
    ).history
    assert history["learning_rate/head"] == [0.5, 0.25]
    assert history["learning_rate/*"] == history["learning_rate"] == [0.25, 0.125]
    assert learning_rates(keras.optimizers.SGD(0.5)) == {"*": 0.5}


def test_a_saved_run_goes_on(tmp_path):
    """With decay by block, weight decay, a schedule and frozen layers."""
    model = small_model(hidden=[4])
    kt.freeze(model, below="block3*")
    rate = schedules.make("cosine", 1e-3, steps=8, warmup=0.25)
    kt.compile(
        model,
        optimizer=layer_rates("adamw", model, decay=0.5, weight_decay=0.1, learning_rate=rate),
    )
    arguments = {"batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit(PIXELS, LABELS, **arguments)
    model.save(tmp_path / "model.keras")
    again = kt.load_model(tmp_path / "model.keras")
    assert again.optimizer.learning_rates == model.optimizer.learning_rates
    losses = [
        one.fit(PIXELS, LABELS, epochs=2, **arguments).history["loss"] for one in (model, again)
    ]
    assert losses[0] == losses[1]
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_thawing_afterwards_is_an_error():
    model = model_of()
    kt.freeze(model, below="block4")
    optimizer = layer_rates("adam", model, decay=0.5)
    kt.unfreeze(model)
    with pytest.raises(checks.InputError, match="Freeze and thaw layers first"):
        optimizer.build(model.trainable_variables)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decay": 0}, "`decay` must be a number above 0"),
        ({"decay": 1.5}, "`decay` must be at most 1. Given: 1.5"),
        ({"decay": float("nan")}, "`decay`"),
        (
            {"rates": {"blok4": 0.1}},
            "`rates` must match a block, layer or variable.*'blok4'. Close: 'block4'",
        ),
        ({"rates": {"block4": 0.1, "block4*": 0.2}}, "no earlier one matches. Given: 'block4\\*'"),
        ({"rates": {"block4": 0}}, r"`rates\['block4'\]` must be a number above 0"),
        ({"rates": {"block4": "fast"}}, r"`rates\['block4'\]`"),
        ({"optimizer": "adm"}, "`optimizer` must be a known name.*'adm'. Close names: 'adam'"),
        ({"optimizer": 3}, "`optimizer` must be a name or a Keras optimizer. Given: 3"),
        ({"learning_rate": -1}, "`learning_rate` must be a number above 0"),
        ({"weight_decay": -1}, "`weight_decay` must be a number at least 0"),
        (
            {"optimizer": keras.optimizers.SGD(), "learning_rate": 0.1},
            "`learning_rate` must be None",
        ),
        ({"optimizer": keras.optimizers.SGD(), "weight_decay": 0.1}, "`weight_decay` must be None"),
        (
            {"optimizer": keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())},
            "single.*a LossScaleOptimizer",
        ),
        ({"optimizer": SCALED["SGD"](factors={}, rows=[])}, "Given: a ScaledSGD"),
        (
            {
                "learning_rate": keras.optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 0.1]),
                "rates": {"head": 1},
            },
            "a schedule that says its highest rate",
        ),
    ],
)
def test_wrong_arguments(arguments, message):
    given = {"optimizer": "adam", "decay": 0.5, **arguments}
    with pytest.raises(checks.InputError, match=message):
        layer_rates(given.pop("optimizer"), model_of(), **given)


def test_frozen_layers_have_no_rate():
    model = model_of()
    kt.freeze(model, below="block4")
    with pytest.raises(
        checks.InputError, match="must match something that trains.*Given: 'block1'"
    ):
        layer_rates("adam", model, rates={"block1": 0.1})


def test_a_used_optimizer_is_refused():
    used = keras.optimizers.SGD()
    used.build([keras.Variable([1.0])])
    with pytest.raises(
        checks.InputError, match="new, single optimizer. Given: one that is built already"
    ):
        layer_rates(used, model_of(), decay=0.5)


def test_a_model_without_a_graph_is_refused():
    with pytest.raises(checks.InputError, match="functional"):
        layer_rates("adam", keras.Sequential(), decay=0.5)


needs_multi = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="needs Keras 3.15"
)


@needs_multi
def test_several_optimizers(tmp_path):
    """Each group moves as under its optimizer alone; and the file brings everything back."""
    model, alone = model_of(), model_of()
    slow = keras.optimizers.SGD(0.5, momentum=0.9, name="slow")
    kt.compile(model, optimizer=multi_optimizer("adam", model, optimizers={"block*": slow}))
    kt.compile(alone, optimizer=keras.optimizers.SGD(0.5, momentum=0.9))
    for one in (model, alone):
        one.train_on_batch(PIXELS, LABELS)
    assert sorted(learning_rates(model.optimizer).values()) == [0.001, 0.5]
    assert learning_rates(model.optimizer)["slow"] == 0.5
    for one, other in zip(model.trainable_variables, alone.trainable_variables, strict=True):
        same = np.allclose(
            keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other), atol=1e-7
        )
        assert same == one.path.startswith("block")
    model.save(tmp_path / "model.keras")
    again = kt.load_model(tmp_path / "model.keras")
    losses = [
        one.fit(PIXELS, LABELS, shuffle=False, verbose=0).history["loss"] for one in (model, again)
    ]
    assert losses[0] == losses[1]
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@needs_multi
def test_what_several_optimizers_refuse():
    model = model_of()
    with pytest.raises(checks.InputError, match="`optimizers` must match a block"):
        multi_optimizer("adam", model, optimizers={"blok": "sgd"})
    with pytest.raises(checks.InputError, match="new, single optimizer"):
        multi_optimizer(
            keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD())),
            model,
            optimizers={},
        )


def test_an_older_keras_is_said(monkeypatch):
    monkeypatch.delattr(keras.optimizers, "MultiOptimizer", raising=False)
    with pytest.raises(checks.InputError, match=r"Keras must be 3\.15 or newer"):
        multi_optimizer("adam", model_of(), optimizers={"head": "sgd"})
