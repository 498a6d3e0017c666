"""Several tasks on one trunk: equal to what is known, whatever balances them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.models import joint, task_model

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (22, 16, 16, 3), dtype="uint8")
KIND, AGE = np.arange(22) % 3, RNG.normal(5, 2, 22).astype("float32")
GRADIENTS = [name for name, kind in kt.balancing.BALANCERS.items() if kind.kind == "gradients"]
LOSSES = [name for name in kt.balancing.BALANCERS if name not in GRADIENTS]


def trunk():
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3))
    for number in (1, 2):
        x = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name=f"block{number}_conv")(x)
    return kt.backbone(keras.Model(image, x, name="small"), preprocess="tf")


def tasks(*names):
    made = {
        "kind": kt.tasks.Classification(3),
        "age": kt.tasks.Regression(),
        "again": kt.tasks.Classification(3),
    }
    return {name: made[name] for name in names or made}


def model_of(*names, **options):
    model = kt.build_model(trunk(), tasks(*names), **options)
    for name in model.output_names:  # heads do not depend on which others there are
        layer = model.get_layer(f"{name}_logits")
        layer.kernel.assign(np.random.default_rng(len(name)).normal(0, 0.3, layer.kernel.shape))
    return model


def arrays(labels=None, **options):
    labels = {"kind": KIND, "age": AGE, "again": KIND[::-1]} if labels is None else labels
    return kt.data.from_arrays(
        PIXELS, labels, **{"validation": 0.2, "batch_size": 6, "seed": 0, **options}
    )


def only(data, *names):
    return data.train.map(lambda images, targets: (images, {name: targets[name] for name in names}))


def trained(model, batches, *, epochs=2, **options):
    kt.compile(model, optimizer=keras.optimizers.SGD(0.05), **options)
    history = model.fit(batches, epochs=epochs, shuffle=False, verbose=0)
    return {
        path: np.asarray(value) for path, value in paths.variables(model).items()
    }, history.history


def same(one, other, *, skip="balance/", **tolerance):
    for path, value in one.items():
        if skip not in path and path in other:
            np.testing.assert_allclose(
                value, other[path], err_msg=path, **{"rtol": 1e-5, "atol": 1e-6, **tolerance}
            )


# What is known.


@pytest.mark.compiled
def test_one_task_in_a_dict_is_that_task_alone():
    joint, _ = trained(model_of("kind", balancing="sum"), only(arrays(), "kind"))
    alone = kt.build_model(trunk(), kt.tasks.Classification(3))
    alone.get_layer("classification_logits").kernel.assign(
        model_of("kind").get_layer("kind_logits").kernel
    )
    found, _ = trained(alone, arrays().train.map(lambda images, targets: (images, targets["kind"])))
    same(joint, {path.replace("classification", "kind"): value for path, value in found.items()})


def test_weights_of_one_and_zero_train_the_first_task_alone():
    both, _ = trained(
        model_of("kind", "age", balancing=kt.balancing.Fixed([1.0, 0.0])),
        only(arrays(), "kind", "age"),
    )
    alone, _ = trained(model_of("kind"), only(arrays(), "kind"))
    same(both, {path: value for path, value in alone.items() if "age" not in path})


def test_the_sum_is_what_keras_does():
    model = model_of("kind", "age", balancing="sum")
    ours, history = trained(model, only(arrays(), "kind", "age"))
    plain = model_of("kind", "age")
    functional = keras.Model(plain.inputs, plain.output)
    losses = {"kind": kt.losses.Crossentropy(), "age": kt.tasks.Regression().loss()}
    functional.compile(keras.optimizers.SGD(0.05), losses, jit_compile=False)
    expected = functional.fit(
        only(arrays(), "kind", "age"), epochs=2, shuffle=False, verbose=0
    ).history
    same(ours, {path: np.asarray(value) for path, value in paths.variables(plain).items()})
    for name in ("loss", "kind_loss", "age_loss"):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-5)


def test_missing_labels_are_not_there():
    """Training on all rows, of which some lack a label, is training on the rows that have one."""
    missing = np.arange(22) % 4 == 1
    holes = arrays(
        {"kind": KIND, "age": np.where(missing, np.nan, AGE)}, validation=None, batch_size=22
    )
    found, history = trained(
        model_of("kind", "age", balancing=kt.balancing.Fixed([0.0, 1.0])), holes.train
    )
    rows = kt.data.from_arrays(
        PIXELS[~missing], {"age": AGE[~missing]}, validation=None, batch_size=22
    )
    expected, alone = trained(model_of("age"), rows.train)
    same(found, {path: value for path, value in expected.items() if "kind" not in path})
    np.testing.assert_allclose(history["age_loss"], alone["loss"], rtol=1e-5)


@pytest.mark.parametrize("name", kt.balancing.BALANCERS)
def test_a_task_without_labels_moves_nothing(name):
    """In a batch without labels for it, a task changes neither its head nor what balances it, and nothing is NaN."""
    model = model_of("kind", "age", "again", balancing=name)
    first = {"kind": KIND[:6], "age": AGE[:6], "again": KIND[:6]}
    model.compile(
        keras.optimizers.SGD(0.05), model._compile_config.config["loss"], jit_compile=False
    )
    model.train_on_batch(PIXELS[:6].astype("float32"), first)
    before = {path: np.asarray(value) for path, value in paths.variables(model).items()}
    weights = {
        "kind": np.ones(6, "float32"),
        "age": np.zeros(6, "float32"),
        "again": np.ones(6, "float32"),
    }
    model.train_on_batch(
        PIXELS[6:12].astype("float32"), {**first, "age": np.zeros(6, "float32")}, weights
    )
    after = {path: np.asarray(value) for path, value in paths.variables(model).items()}
    for path, value in after.items():
        assert np.isfinite(value).all(), path
        if path.startswith("age_"):
            np.testing.assert_array_equal(value, before[path], err_msg=path)
    for state, variable in model.get_layer("balance").state.items():
        value = np.asarray(variable)
        if value.ndim:
            np.testing.assert_array_equal(value[1], before[f"balance/{state}"][1], err_msg=state)
    weights = {name: np.zeros(6, "float32") for name in weights}
    model.train_on_batch(PIXELS[6:12].astype("float32"), first, weights)
    same(
        after,
        {path: np.asarray(value) for path, value in paths.variables(model).items()},
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize("name", ["uncertainty", "geometric_mean", "famo"])
def test_a_loss_of_keras_has_missing_labels_too(name):
    """Its mean is over all examples of a batch, labelled or not; that does not make a label."""
    made = {
        "kind": kt.tasks.Classification(
            3, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=False)
        )
    }
    model = kt.build_model(trunk(), {**made, "age": kt.tasks.Regression()}, balancing=name)
    before = {key: np.asarray(value) for key, value in model.get_layer("balance").state.items()}
    weights = {"kind": np.zeros(6, "float32"), "age": np.ones(6, "float32")}
    images, targets = PIXELS[:6].astype("float32"), {"kind": KIND[:6], "age": AGE[:6]}
    logs = model.train_on_batch(images, targets, weights, return_dict=True)
    assert logs["kind_factor"] == 0.0
    assert logs["age_factor"] == pytest.approx(1.0, abs=0.5)
    for key, value in model.get_layer("balance").state.items():
        if np.ndim(value):
            np.testing.assert_array_equal(np.asarray(value)[0], before[key][0], err_msg=key)


@pytest.mark.parametrize("balancing", [None, {"age": 1.0}, "sum", "uncertainty"])
def test_a_batch_without_labels_is_not_a_loss_of_0(balancing):
    labels = {"kind": KIND[:12], "age": np.where(np.arange(12) < 6, np.nan, AGE[:12])}
    data = kt.data.from_arrays(PIXELS[:12], labels, validation=None, batch_size=6)
    model = model_of("kind", "age", balancing=balancing)
    whole = model.evaluate(data.ordered("train"), return_dict=True, verbose=0)
    half = model.evaluate(data.ordered("train").skip(1), return_dict=True, verbose=0)
    assert whole["age_loss"] == pytest.approx(half["age_loss"], rel=1e-5)


# Gradients.


def gradients(model, names):
    """Of each task's loss, at the weights of the trunk and at the representation; by a model taken apart."""
    config = model._compile_config.config
    mark = kt.models.representation(model)
    lower = keras.Model(model.inputs, mark.output)
    kernels = [
        weight.value
        for number in (1, 2)
        for weight in model.get_layer(f"block{number}_conv").weights
    ]
    images = tf.constant(PIXELS[:6].astype("float32"))
    truth = {"kind": KIND[:6], "age": AGE[:6], "again": KIND[:6]}
    found = []
    for name in names:
        with tf.GradientTape() as tape:
            z = lower(images, training=True)
            tape.watch(z)
            raw = model.get_layer(f"{name}_logits")(tf.reduce_mean(z, axis=(1, 2)))
            loss = config["loss"][name](truth[name], model.get_layer(name)(raw))
        at_z, *at_weights = tape.gradient(loss, [z, *kernels])
        found.append((at_z, at_weights))
    return images, truth, kernels, found


@pytest.mark.parametrize("on", ["representation", "weights"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.compiled) if name == "cagrad" else name
        for name in GRADIENTS
    ],
)
def test_the_trunk_moves_by_the_common_direction(name, on):
    names = ["kind", "age", "again"]
    model = model_of(*names, balancing=name, balance_on=on)
    kt.compile(model, optimizer=keras.optimizers.SGD(1.0))
    images, truth, kernels, found = gradients(model, names)
    before = [np.array(kernel) for kernel in kernels]
    vectors = [
        np.concatenate(
            [
                np.asarray(part).ravel()
                for part in ([at_z] if on == "representation" else at_weights)
            ]
        )
        for at_z, at_weights in found
    ]
    balancer = kt.balancing.balancer_of(name, names)
    losses = [
        float(
            model._compile_config.config["loss"][each](
                truth[each], model(images, training=True)[each]
            )
        )
        for each in names
    ]
    gram = np.array([[one @ other for other in vectors] for one in vectors], "float32")
    factors = np.asarray(balancer.coefficients(gram, losses, [True] * 3, balancer.initial(3))[0])
    assert (
        name == "gradnorm" or np.abs(factors - 1).max() > 1e-3
    )  # whose first step is the plain one
    logs = model.train_on_batch(images, truth, return_dict=True)
    for at, kernel in enumerate(kernels):
        expected = sum(
            factor * np.asarray(one[1][at]) for factor, one in zip(factors, found, strict=True)
        )
        np.testing.assert_allclose(before[at] - np.asarray(kernel), expected, rtol=2e-3, atol=1e-6)
    for each, factor in zip(names, factors, strict=True):
        assert float(logs[f"{each}_factor"]) == pytest.approx(float(factor), rel=2e-3)


# In everything that trains.


def fine_tuned(balancing, **options):
    """All weights after two stages on tasks of which one lacks labels, and the history."""
    model = model_of("kind", "age", "again", balancing=balancing)
    ages = np.where(np.arange(22) % 4 == 1, np.nan, AGE)
    data = arrays({"kind": KIND, "age": ages, "again": KIND[::-1]}, batch_size=9)
    stages = [
        kt.Stage(epochs=1, train="head", learning_rate=1e-2),
        kt.Stage(epochs=2, train="block2*", learning_rate=1e-3),
    ]
    history = kt.fine_tune(model, data, stages=stages, seed=0, verbose=0, **options)
    return {path: np.asarray(value) for path, value in paths.variables(model).items()}, history


# A state by task, and one by pair.
@pytest.mark.parametrize("name", [pytest.param("dwa", marks=pytest.mark.compiled), "gradvac"])
def test_fine_tuning_cached_is_uncached(name):
    uncached, _ = fine_tuned(name, cache="off")
    cached, history = fine_tuned(name, cache="memory")
    assert history.record["cache"]
    same(uncached, cached, skip="none", rtol=0, atol=0)
    assert {"kind_factor", "kind_loss", "val_kind_loss"} <= set(history.history)


@pytest.mark.parametrize("name", ["dwa", "gradvac"])
def test_fine_tuning_can_be_resumed(name, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    unbroken, _ = fine_tuned(name, cache="memory")
    run = {"cache": "memory", "run_dir": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        fine_tuned(name, callbacks=[Stop()], **run)
    resumed, _ = fine_tuned(name, resume=True, **run)
    same(unbroken, resumed, skip="none", atol=0)


def test_state_is_saved_and_steps_may_be_put_together(tmp_path):
    model = model_of("kind", "age", balancing="uncertainty")
    kt.compile(model, optimizer="sgd", steps_per_execution=2)
    model.fit(only(arrays(), "kind", "age"), epochs=2, shuffle=False, verbose=0)
    state = np.asarray(model.get_layer("balance").state["log_variance"])
    assert np.abs(state).max() > 0
    model.save(tmp_path / "m.keras")
    loaded = kt.load_model(tmp_path / "m.keras")
    assert type(loaded) is type(model)
    for name, variable in model.get_layer("balance").state.items():
        np.testing.assert_array_equal(variable, loaded.get_layer("balance").state[name])
    answers = model.predict(PIXELS, verbose=0), loaded.predict(PIXELS, verbose=0)
    for name in ("kind", "age"):
        np.testing.assert_array_equal(answers[0][name], answers[1][name])
    loaded.fit(only(arrays(), "kind", "age"), shuffle=False, verbose=0)


@pytest.mark.compiled
@pytest.mark.parametrize("name", ["uncertainty", "pcgrad"])
def test_mixed_precision(name):
    keras.mixed_precision.set_global_policy("mixed_float16")
    model = model_of("kind", "age", balancing=name)
    history = model.fit(only(arrays(), "kind", "age"), epochs=2, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()


REPLICAS = """
import sys
import numpy as np, keras, tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
sys.path.insert(0, sys.argv[1])
import contextlib, keras_transfer as kt
import test_joint as here
worst = {}
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
missing = np.arange(20) % 5 == 1  # more on one device than on the other
labels = {"kind": here.KIND[:20], "age": np.where(missing, np.nan, here.AGE[:20])}
data = kt.data.from_arrays(here.PIXELS[:20], labels, validation=None, batch_size=8, seed=0)
# Of each kind of state: none, a counter, by pair, by task; with a loop in the graph; and without a balancer.
# tests/training/test_strategies.py has two more, in whole runs.
cases = [(name, "representation") for name in ("geometric_mean", "rlw", "gradvac", "cagrad", None)]
cases += [(name, "weights") for name in ("gradnorm", "mgda")]
cases += [({"age": 0.5}, "representation")]
for name, on in cases:
    found, histories = [], []
    for strategy in (None, mirrored):
        with contextlib.nullcontext() if strategy is None else strategy.scope():
            model = here.model_of("kind", "age", balancing=name, balance_on=on)
            kt.compile(model, optimizer=keras.optimizers.SGD(0.05))
        model.run_eagerly = strategy is None  # quicker than a graph for two steps
        histories.append(model.fit(data.ordered("train"), epochs=1, shuffle=False, verbose=0).history)
        found.append([np.asarray(value) for value in model.get_weights()])
    worst[str(name), on] = max(float(np.abs(one - other).max()) for one, other in zip(*found) if one.dtype.kind == "f")
    assert set(histories[0]) == set(histories[1])
    for key, value in histories[0].items():
        np.testing.assert_allclose(value, histories[1][key], rtol=2e-4, err_msg=f"{name} {key}")
    keras.backend.clear_session()
print({key: value for key, value in worst.items() if not value < 2e-5})
assert len(worst) == 8
assert max(worst.values()) < 2e-5
"""


@pytest.mark.slow
def test_two_devices_are_one(run_code):
    import pathlib

    folder = str(pathlib.Path(__file__).parent)
    done = run_code(REPLICAS, folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_memory_on_weights_is_told(capsys):
    model = model_of("kind", "age", balancing="pcgrad", balance_on="weights")
    # Two layers of 3x3 kernels: 3 * 6 * 9 + 6 and 6 * 6 * 9 + 6 weights; two copies of two gradients of 4 bytes each.
    assert joint.note_memory(model) == 2 * 2 * 4 * (168 + 330)
    assert "all 498 shared weights" in capsys.readouterr().out
    assert joint.note_memory(model_of("kind", "age", balancing="pcgrad")) == 0
    assert (
        joint.note_memory(model_of("kind", "age", balancing="uncertainty", balance_on="weights"))
        == 0
    )


# What is wrong is said when the model is built.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"balancing": "pcgrat"}, "`balancing` must be .*pcgrat.*pcgrad"),
        ({"balancing": {"sex": 1.0}}, "`balancing`.*'sex'"),
        ({"balancing": {"age": -1.0}}, "`balancing"),
        (
            {"balancing": kt.balancing.Fixed([1, 2, 3])},
            "`weights` must hold one a task. Given: 3 for 2 tasks",
        ),
        (
            {"balancing": "pcgrad", "balance_on": "logits"},
            "`balance_on` must be one of 'representation', 'weights'",
        ),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(checks.InputError, match=message):
        kt.build_model(trunk(), tasks("kind", "age"), **options)
    with pytest.raises(checks.InputError, match="`balancing` must be left out for a single task"):
        kt.build_model(trunk(), kt.tasks.Classification(3), balancing="pcgrad")
    with pytest.raises(
        checks.InputError, match="`loss` must be a dict with a loss for each task: kind, age"
    ):
        kt.build_model(trunk(), tasks("kind", "age"), balancing="sum").compile("sgd", "mse")


def test_labels_as_a_list_of_arrays_are_left_to_keras():
    task_model.check_class_ids(model_of("kind", "age"), [np.zeros(4), np.zeros((4, 2))], {})


def test_private_names_that_this_stands_on_exist():
    inputs = keras.Input((2,))
    functional = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    assert type(functional) is task_model.Functional  # what files of TaskModel name
    assert hasattr(inputs, "_keras_history")
    assert callable(keras.Model._get_metrics_result_or_logs)
    assert hasattr(model_of("kind", "age"), "_compile_loss")
    assert hasattr(model_of("kind", "age"), "_loss_tracker")
