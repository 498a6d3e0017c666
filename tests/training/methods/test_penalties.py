"""What holds for every row of the table of regularisers."""

import zipfile

import keras
import numpy as np
import pytest
from keras import ops

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.training import freezing, methods
from keras_transfer.training.methods import penalties

STRONG = {
    "l2_sp": {"alpha": 1.0, "beta": 1.0},
    "delta": {"weight": 1.0, "beta": 1.0},
    "bss": {"weight": 1.0, "k": 2},
}
ABSENT = {"l2_sp": {"alpha": 0, "beta": 0}, "delta": {"weight": 0, "beta": 0}, "bss": {"weight": 0}}
every_kind = pytest.mark.parametrize("kind", methods.REGULARISERS)


def strong(kind):
    return methods.REGULARISERS[kind](**STRONG[kind])


def fitted(model, images, targets):
    data = {"validation_data": (images, targets), "batch_size": 4, "shuffle": False}
    return model.fit(images, targets, epochs=2, verbose=0, **data).history


def values(model, shift=0.0):
    return {
        path: ops.convert_to_numpy(variable) + shift
        for path, variable in paths.variables(model).items()
    }


@every_kind
def test_weight_zero_is_plain_training(kind, build, images, labels):
    task = kt.tasks.Classification(3, dropout=0.3)
    plain, zero = build(task), build(task)
    expected = fitted(plain, images, labels)
    with methods.REGULARISERS[kind](**ABSENT[kind]).attached(zero) as training_model:
        assert fitted(training_model, images, labels) == expected
    for found, value in zip(zero.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(found, value)


@every_kind
def test_the_penalty_trains_and_is_not_in_the_validation_loss(kind, build, images, labels):
    plain, model = build(), build()
    expected = fitted(plain, images, labels)
    with strong(kind).attached(model) as training_model:
        history = fitted(training_model, images, labels)
        found = training_model.evaluate(images, labels, verbose=0, return_dict=True)
    assert history["loss"][0] > expected["loss"][0] + 0.01
    assert not np.array_equal(
        model.get_layer("block2_conv").get_weights()[0], plain.get_layer("block2_conv").kernel
    )
    np.testing.assert_allclose(history["val_loss"][-1], found["loss"], rtol=1e-6)
    assert found == model.evaluate(images, labels, verbose=0, return_dict=True)


@every_kind
def test_the_users_model_never_holds_it(kind, build, images, labels, tmp_path):
    model = build()
    before = model.get_config()
    with strong(kind).attached(model) as training_model:
        training_model.fit(images, labels, verbose=0)
        assert model.get_config() == before
        model.save(tmp_path / "inside.keras")
    assert model.get_config() == before
    assert model.losses == []
    model.save(tmp_path / "after.keras")
    for name in ("inside", "after"):
        with zipfile.ZipFile(tmp_path / f"{name}.keras") as archive:
            assert b"enal" not in archive.read("config.json")


@every_kind
def test_config_makes_it_again(kind):
    regulariser = strong(kind)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(regulariser))
    assert type(again) is type(regulariser)
    assert again.get_config() == regulariser.get_config()
    assert repr(again) == repr(regulariser)


@every_kind
def test_nothing_frozen_is_penalised(kind, build, images):
    model = build()
    model.trainable = False
    with strong(kind).attached(model, reference=values(model, 0.1)) as training_model:
        training_model(images, training=True)
        assert training_model.losses == []


@pytest.mark.compiled
@every_kind
def test_mixed_precision_computes_in_float32(kind, build, images, labels):
    """That of float32 weights, up to what the features of a float16 network differ by."""
    found = []
    for policy in ("float32", "mixed_float16"):
        keras.mixed_precision.set_dtype_policy(policy)
        model = build()
        with strong(kind).attached(model, reference=values(model, 0.01)) as training_model:
            training_model(images, training=True)
            (value,) = training_model.losses
            assert value.dtype == "float32"
            found.append(float(value))
            history = training_model.fit(images, labels, verbose=0).history
            assert np.isfinite(history["loss"]).all()
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6 if kind == "l2_sp" else 0.03)


@pytest.mark.compiled
@every_kind
def test_compiled_by_xla_it_is_the_same(kind, build, images, labels):
    losses = []
    for jit in (False, True):
        with strong(kind).attached(build(jit_compile=jit)) as training_model:
            assert training_model.jit_compile == jit
            losses += [
                training_model.fit(images, labels, epochs=2, shuffle=False, verbose=0).history[
                    "loss"
                ]
            ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.compiled
def test_steps_per_execution(build, images, labels):
    losses = []
    for steps in (1, 2):
        with strong("l2_sp").attached(build(steps_per_execution=steps)) as training_model:
            losses += [fitted(training_model, images, labels)["loss"]]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


@every_kind
def test_several_tasks_keep_their_names(kind, build, images, labels):
    tasks = {"kind": kt.tasks.Classification(3), "size": kt.tasks.Regression()}
    targets = {"kind": labels, "size": labels.astype("float32")}
    plain, model = build(tasks), build(tasks)
    expected = fitted(plain, images, targets)
    with strong(kind).attached(model) as training_model:
        assert list(training_model.output) == ["kind", "size"]
        assert list(kt.models.outputs(training_model)) == ["kind", "size"]
        history = fitted(training_model, images, targets)
    assert set(history) == set(expected)
    assert 0.5 < history["kind_loss"][0] / expected["kind_loss"][0] < 2


def test_a_plain_model_with_a_list_of_outputs_keeps_their_names():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="hidden")(inputs)
    model = keras.Model(inputs, [keras.layers.Dense(1, name=name)(hidden) for name in ("a", "b")])
    model.compile("sgd", {"a": "mse", "b": "mse"})
    with strong("l2_sp").attached(model) as training_model:
        history = training_model.fit(
            np.ones((4, 4)), {"a": np.ones((4, 1)), "b": np.ones((4, 1))}, verbose=0
        ).history
    assert set(history) == {"a_loss", "b_loss", "loss"}


@every_kind
def test_a_sequential_model_with_a_nested_one(kind, images):
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv")], name="inner"
    )
    outer = keras.Sequential(
        [keras.Input((8, 8, 3)), inner, keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    outer.compile(keras.optimizers.SGD(1e-9), "mse")
    with strong(kind).attached(outer) as training_model:
        before = inner.get_weights()[0]
        history = training_model.fit(images / 255, np.zeros((8, 2)), epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert not np.array_equal(inner.get_weights()[0], before)


def test_an_answer_keeps_its_logits():
    """The loss finds the softmax behind the outputs: a certain mistake costs 200 - (-200), not ln(1e-7)."""
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(3, use_bias=False, kernel_initializer="identity")(inputs)
    model = keras.Model(inputs, kt.layers.TaskOutput(kt.tasks.Classification(3))(hidden))
    model.compile("sgd", loss=kt.losses.Crossentropy())
    with methods.L2SP(1.0, beta=0).attached(model) as training_model:
        value = training_model.evaluate(
            np.array([[200.0, 0.0, -200.0]], "float32"), np.array([2]), verbose=0
        )
    np.testing.assert_allclose(value, 400.0, rtol=1e-6)


def test_the_optimizer_goes_on(build, images, labels):
    model = build()
    model.fit(images, labels, batch_size=4, verbose=0)
    with strong("l2_sp").attached(model) as training_model:
        assert training_model.optimizer is model.optimizer
        training_model.fit(images, labels, batch_size=4, verbose=0)
    model.fit(images, labels, batch_size=4, verbose=0)
    assert int(model.optimizer.iterations) == 6


def test_freezing_within_the_block_counts(build, images):
    model = build(train="all")
    with methods.L2SP(1.0, beta=0).attached(model, reference=values(model, 0.1)) as training_model:
        training_model(images, training=True)
        before = float(training_model.losses[0])
        kt.freeze(model, below="block2_end")
        training_model(images, training=True)
        assert 0 < float(training_model.losses[0]) < before


def test_weights_have_one_order_in_both_models(build):
    """The exponential average of an optimizer pairs them by position."""
    model = build({"kind": kt.tasks.Classification(3, hidden=[4]), "size": kt.tasks.Regression()})
    with strong("delta").attached(model) as training_model:
        assert [id(each) for each in training_model.weights] == [id(each) for each in model.weights]


def test_a_saved_training_model_only_passes_through(build, images, labels, tmp_path):
    model = build()
    with strong("delta").attached(model) as training_model:
        training_model.fit(images, labels, verbose=0)
        training_model.save(tmp_path / "model.keras")
    again = kt.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    again(images, training=True)
    assert again.losses == []


def test_training_after_the_block_is_an_error(build, images, labels):
    with strong("l2_sp").attached(build()) as training_model:
        training_model.fit(images, labels, verbose=0)
    with pytest.raises(checks.InputError, match="within its `with` block"):
        training_model.fit(images, labels, verbose=0)


def test_what_cannot_be_attached_to():
    class Own(keras.Model):
        def train_step(self, data):
            return super().train_step(data)

    inputs = keras.Input((2,))
    model = Own(inputs, keras.layers.Dense(1)(inputs))
    for wrong, message in ((model, "its own `train_step`"), (keras.Sequential(), "functional")):
        with pytest.raises(checks.InputError, match=message), strong("l2_sp").attached(wrong):
            pass


def test_a_reference_must_fit(build):
    model = build()
    incomplete, other = values(model), values(model)
    del incomplete["block1_conv/kernel"]
    other["block2_conv/kernel"] = np.zeros((3, 3, 6, 9))
    for wrong, message in (
        (incomplete, "nothing at 'block1_conv/kernel'"),
        (other, r"of shape \(3, 3, 6, 9\)"),
    ):
        with (
            pytest.raises(checks.InputError, match=message),
            strong("l2_sp").attached(model, reference=wrong),
        ):
            pass


def test_a_reference_model_is_its_weights(build, images):
    model, other = build(), build()
    other.set_weights([value + 0.1 for value in other.get_weights()])
    found = []
    for reference in (other, values(other)):
        with methods.L2SP(1.0, beta=0).attached(model, reference=reference) as training_model:
            training_model(images, training=True)
            found.append(float(training_model.losses[0]))
    assert found[0] == found[1] > 0


def test_kernels_of_trunk_and_head(build):
    trunk, head = penalties.kernels(build(kt.tasks.Classification(3, hidden=[4])))
    assert list(trunk) == ["block1_conv/kernel", "block2_conv/kernel", "block2_end/kernel"]
    assert list(head) == ["classification_hidden_1/kernel", "classification_logits/kernel"]


def test_an_uncompiled_model_gives_an_uncompiled_training_model(build, images, labels):
    compiled = build(train="head")
    plain = compiled.evaluate(images, labels, verbose=0, return_dict=True)["loss"]
    decay = np.sum(np.square(compiled.get_layer("classification_logits").get_weights()[0])) / 2
    with methods.L2SP(0, beta=1.0).attached(
        keras.Model(compiled.input, compiled.output)
    ) as training_model:
        assert not training_model.compiled
        training_model.compile("sgd", kt.losses.Crossentropy())
        loss = training_model.fit(images, labels, verbose=0).history["loss"][0]
    np.testing.assert_allclose(loss, plain + decay, rtol=1e-5)


MIRRORED = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras_transfer as kt
from keras_transfer.training import methods as r

rng = np.random.default_rng(0)
images, labels = rng.integers(0, 256, (8, 8, 8, 3)).astype("float32"), np.arange(8) % 3
data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8, drop_remainder=True)


def trained(strategy, regulariser):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        x = image = keras.Input((8, 8, 3))
        x = keras.layers.Rescaling(1 / 128, offset=-1)(x)
        for number in (1, 2):
            x = keras.layers.Conv2D(16 * number, 3, padding="same", activation="relu", name=f"block{number}_conv")(x)
        model = kt.build_model(keras.Model(image, x), kt.tasks.Classification(3))
        model.trainable = False
        kt.unfreeze(model, above="block2_conv")
        kt.compile(model, optimizer=keras.optimizers.SGD(0.001))
    with regulariser.attached(model) as training_model:
        assert training_model.distribute_strategy.num_replicas_in_sync == strategy.num_replicas_in_sync
        losses = training_model.fit(data, epochs=3, verbose=0).history["loss"]
    return losses, model.get_weights()


mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for regulariser in (r.L2SP(0.5, beta=0.5), r.Delta(0.5, beta=0.5), r.BSS(10.0)):
    one, several = trained(tf.distribute.OneDeviceStrategy("CPU:0"), regulariser), trained(mirrored, regulariser)
    difference = max(float(np.abs(a - b).max()) for a, b in zip(one[1], several[1]))
    print(type(regulariser).__name__, one[0][-1], several[0][-1], difference)
"""


@pytest.mark.slow
def test_two_devices_are_one(run_code):
    """Singular values of half a batch are others than those of the whole: BSS only has to work."""
    done = run_code(MIRRORED)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {
        row.split()[0]: [float(value) for value in row.split()[1:]]
        for row in done.stdout.splitlines()
    }
    for name in ("L2SP", "Delta"):
        one, several, difference = rows[name]
        np.testing.assert_allclose(several, one, rtol=1e-5)
        assert difference < 1e-6
    assert np.isfinite(rows["BSS"]).all()
    assert rows["BSS"][1] != pytest.approx(rows["BSS"][0], rel=1e-4)


def test_the_private_names_that_are_used_exist(build, images, labels):
    model = build()
    assert "optimizer" in model._compile_config.config
    assert isinstance(model.output_names, list)
    with strong("l2_sp").attached(model) as training_model:
        training_model.fit(images, labels, verbose=0)
        assert training_model.train_function is not None


def test_the_head_may_be_all_that_trains(build, images, labels):
    """Nothing to compute for the trunk, the head's decay stays."""
    model = build(train="head")
    assert freezing.head(model)[-1] == "classification"
    with strong("delta").attached(model) as training_model:
        training_model(images, training=True)
        expected = np.sum(np.square(model.get_layer("classification_logits").get_weights()[0])) / 2
        np.testing.assert_allclose(float(training_model.losses[0]), expected, rtol=1e-6)
