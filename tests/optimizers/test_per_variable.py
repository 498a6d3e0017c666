import keras
import numpy as np
import pytest
from keras import ops

from keras_transfer.core import checks
from keras_transfer.optimizers.per_variable import SCALED, scaled

RNG = np.random.default_rng(0)
SHAPES = {"matrix": (4, 3), "other": (3, 3), "vector": (3,), "plain": (2, 3)}
FACTORS = {"matrix": 0.1, "other": 0.03, "vector": 0.5, "plain": 1.0}
START = {name: RNG.normal(size=shape).astype("float32") for name, shape in SHAPES.items()}
GRADIENTS = [
    {name: RNG.normal(size=shape).astype("float32") for name, shape in SHAPES.items()}
    for _ in range(4)
]
IMAGES, LABELS = RNG.normal(size=(16, 8)).astype("float32"), RNG.integers(0, 3, 16)


def variables(start=START):
    return [keras.Variable(value, name=name) for name, value in start.items()]


def rows(made, *, spared=()):
    return [(one.path, one.shape, one.path, one.path not in spared) for one in made]


def values(made):
    return {one.path: ops.convert_to_numpy(one) for one in made}


def of(name, made, factors=FACTORS, spared=(), **arguments):
    used = {one.path: factors[one.path] for one in made}
    return SCALED[name](factors=used, rows=rows(made, spared=spared), **arguments)


def trained(optimizer, made, gradients=GRADIENTS):
    optimizer.build(made)
    for step in gradients:
        optimizer.apply([ops.convert_to_tensor(step[one.path]) for one in made])
    return values(made)


def network(optimizer=None, **compiled):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8,))
    x = keras.layers.Dense(6, activation="relu", name="stem")(inputs)
    x = keras.layers.Dense(5, activation="relu", name="block")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="top")(x))
    if optimizer is not None:
        made = optimizer(model.trainable_variables) if callable(optimizer) else optimizer
        model.compile(
            made, keras.losses.SparseCategoricalCrossentropy(from_logits=True), **compiled
        )
    return model


def by_layer(factors, name="Adam", spared=(), **arguments):
    """A maker of an optimizer for `network`."""

    def make(made):
        named = [
            (one.path, one.shape, one.path.split("/")[0], one.name not in spared) for one in made
        ]
        return SCALED[name](factors=factors, rows=named, **arguments)

    return make


EQUAL = {"stem": 1.0, "block": 1.0, "top": 1.0}
FALLING = {"stem": 0.01, "block": 0.1, "top": 1.0}


def fit(model, **arguments):
    return model.fit(IMAGES, LABELS, batch_size=4, shuffle=False, verbose=0, **arguments).history[
        "loss"
    ]


def test_the_table_has_every_optimizer_of_keras():
    found = {
        name
        for name, kind in vars(keras.optimizers).items()
        if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)
    }
    assert set(SCALED) == found - {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}
    assert keras.saving.get_registered_object("keras_transfer>ScaledAdam") is SCALED["Adam"]


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_a_factor_is_another_rate(name, weight_decay):
    """The definition: each variable moves as under a plain optimizer of its own with that rate."""
    arguments = {"weight_decay": weight_decay} | (
        {"adam_weight_decay": weight_decay} if name == "Muon" else {}
    )
    ours = trained(of(name, made := variables(), learning_rate=0.05, **arguments), made)
    for path, factor in FACTORS.items():
        alone = variables({path: START[path]})
        expected = trained(
            getattr(keras.optimizers, name)(learning_rate=0.05 * factor, **arguments), alone
        )[path]
        np.testing.assert_allclose(ours[path], expected, rtol=1e-5, atol=1e-6)
        assert np.abs(ours[path] - START[path]).max() > 1e-7


@pytest.mark.parametrize("name", SCALED)
def test_factors_of_one_are_the_plain_optimizer(name):
    arguments = {"learning_rate": 0.05, "weight_decay": 0.1, "global_clipnorm": 1.0}
    ours = of(name, one := variables(), dict.fromkeys(FACTORS, 1.0), **arguments)
    plain = getattr(keras.optimizers, name)(**arguments)
    found, expected = trained(ours, one), trained(plain, two := variables())
    for path in SHAPES:
        np.testing.assert_array_equal(found[path], expected[path])
    assert len(one) == len(two)
    for slot, other in zip(ours.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(slot), ops.convert_to_numpy(other))


def test_ten_times_the_rate_is_ten_times_the_first_step():
    start = {name: np.zeros_like(value) for name, value in START.items()}
    moved = []
    for factor in (0.05, 0.5):
        made = variables(start)
        moved.append(
            trained(
                of("SGD", made, dict.fromkeys(FACTORS, factor), learning_rate=0.1),
                made,
                GRADIENTS[:1],
            )
        )
    for path in SHAPES:
        np.testing.assert_allclose(moved[1][path], 10 * moved[0][path], rtol=1e-6)
        np.testing.assert_allclose(moved[1][path], -0.1 * 0.5 * GRADIENTS[0][path], rtol=1e-6)


class ScaledGradients(keras.optimizers.Adam):
    """The naive way: Adam divides by the size of the gradient, so this does nothing."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient * 0.01, variable, learning_rate)


def adams_first_step(optimizer):
    made = variables({"matrix": np.zeros((4, 3), "float32")})
    return np.abs(trained(optimizer(made), made, GRADIENTS[:1])["matrix"])


def test_adams_steps_have_the_ratio_of_the_factors():
    plain = adams_first_step(lambda made: keras.optimizers.Adam(1e-3))
    ours = adams_first_step(lambda made: of("Adam", made, {"matrix": 0.01}, learning_rate=1e-3))
    naive = adams_first_step(lambda made: ScaledGradients(1e-3))
    np.testing.assert_allclose(ours / plain, 0.01, rtol=1e-5)
    np.testing.assert_allclose(naive / plain, 1.0, rtol=1e-2)


class OnlySteps(keras.optimizers.AdamW):
    """The naive way: the rate of the step alone is smaller, and weight decay takes what it always took."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * 0.01)


@pytest.mark.parametrize("name", ["AdamW", "Adam", "SGD", "Muon", "Lion"])
def test_weight_decay_has_the_factor(name):
    still = [{"matrix": np.zeros((4, 3), "float32")}]

    def kept(make):
        made = variables({"matrix": np.ones((4, 3), "float32")})
        return trained(make(made), made, still)["matrix"]

    arguments = {"learning_rate": 0.1, "weight_decay": 0.5}
    np.testing.assert_allclose(
        kept(lambda made: of(name, made, {"matrix": 0.01}, **arguments)), 0.9995, rtol=1e-6
    )
    np.testing.assert_allclose(kept(lambda made: OnlySteps(**arguments)), 0.95, rtol=1e-6)


def test_what_is_spared_does_not_decay():
    made = variables()
    zeros = [{name: np.zeros_like(value) for name, value in START.items()}]
    arguments = {"learning_rate": 0.1, "weight_decay": 0.5}
    after = trained(of("AdamW", made, spared=("vector", "other"), **arguments), made, zeros)
    for name in ("vector", "other"):
        np.testing.assert_array_equal(after[name], START[name])
    np.testing.assert_allclose(after["plain"], START["plain"] * 0.95, rtol=1e-6)
    np.testing.assert_allclose(after["matrix"], START["matrix"] * 0.995, rtol=1e-6)


def test_keras_own_exclusions_hold_too():
    made = variables()
    optimizer = of("AdamW", made, learning_rate=0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["vector"])
    after = trained(
        optimizer, made, [{name: np.zeros_like(value) for name, value in START.items()}]
    )
    np.testing.assert_array_equal(after["vector"], START["vector"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: made[:3], r"Given: 3 in place of 4\. Freeze and thaw"),
        (lambda made: [*made, keras.Variable(np.zeros(2), name="more")], "Given: 5 in place of 4"),
        (
            lambda made: [made[1], made[0], *made[2:]],
            r"'other' \(3, 3\) in place of 'matrix' \(4, 3\) at position 0",
        ),
        (
            lambda made: [*made[:3], keras.Variable(np.zeros((2, 3)), name="kernel")],
            "'kernel'.*'plain'.*position 3",
        ),
    ],
)
def test_other_variables_are_an_error(change, message):
    made = variables()
    with pytest.raises(checks.InputError, match=message):
        of("Adam", made).build(change(made))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factors": {"a": 0.0}}, r"`factors\['a'\]` must be a number above 0"),
        ({"factors": {"a": float("nan")}}, r"`factors\['a'\]`"),
        ({"rows": [("kernel", (1,), "b", True)]}, "`group` must be one of 'a'. Given: 'b'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(checks.InputError, match=message):
        SCALED["Adam"](**{"factors": {"a": 1.0}, "rows": [], **arguments})


def one_step(model):
    """What one step in `fit` moves each variable by."""
    start = values(model.trainable_variables)
    model.fit(IMAGES, LABELS, batch_size=16, verbose=0)
    after = values(model.trainable_variables)
    return {path: after[path] - start[path] for path in start}


@pytest.fixture(scope="module")
def plain_step():
    return one_step(network(keras.optimizers.Adam(1e-3)))


@pytest.mark.compiled
@pytest.mark.parametrize(
    "settings", [{}, {"jit_compile": True}, {"steps_per_execution": 2}, {"run_eagerly": True}]
)
def test_in_fit(settings, plain_step):
    """One step of each compiled form moves each layer by its share of Adam's step."""
    moved = one_step(network(by_layer(FALLING, learning_rate=1e-3), **settings))
    for path, step in plain_step.items():
        expected = FALLING[path.split("/")[0]] * step
        np.testing.assert_allclose(moved[path], expected, rtol=1e-2, atol=1e-7)
        assert np.abs(step).max() > 5e-4


@pytest.mark.compiled
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.mixed_precision.set_global_policy(policy)
    model = network(by_layer(FALLING, learning_rate=1e-2))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == (
        policy == "mixed_float16"
    )
    start = values(model.trainable_variables)
    model.fit(IMAGES, LABELS, batch_size=16, verbose=0)
    for path, value in values(model.trainable_variables).items():
        step = np.abs(value - start[path]).max()
        np.testing.assert_allclose(step, 1e-2 * FALLING[path.split("/")[0]], rtol=2e-2)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"use_ema": True, "ema_momentum": 0.5}, marks=pytest.mark.compiled),
        {"use_ema": True, "ema_overwrite_frequency": 2},
        pytest.param({"gradient_accumulation_steps": 2}, marks=pytest.mark.compiled),
        {"clipnorm": 0.1},
        {"weight_decay": 0.1},
    ],
)
def test_equal_rates_in_fit_are_the_plain_optimizer(arguments):
    """EMA, accumulation, clipping and decay are the plain optimizer's, to the bit."""
    plain = network(keras.optimizers.Adam(1e-2, **arguments))
    ours = network(by_layer(EQUAL, learning_rate=1e-2, **arguments))
    assert fit(plain, epochs=2) == fit(ours, epochs=2)
    for one, other in zip(plain.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_average_is_that_of_the_scaled_run():
    """EMA over a run with factors: the definition, beside a run without it."""
    plain = network(by_layer(FALLING, learning_rate=1e-2))
    averaged = network(by_layer(FALLING, learning_rate=1e-2, use_ema=True, ema_momentum=0.5))
    expected = None
    for _ in range(3):
        plain.train_on_batch(IMAGES, LABELS)
        averaged.train_on_batch(IMAGES, LABELS)
        now = plain.get_weights()
        expected = (
            now if expected is None else [(a + b) / 2 for a, b in zip(expected, now, strict=True)]
        )
    averaged.optimizer.finalize_variable_values(averaged.trainable_variables)
    for one, other in zip(averaged.get_weights(), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        pytest.param("Adam", "float32", marks=pytest.mark.compiled),
        ("Muon", "float32"),
        ("SGD", "float32"),
        pytest.param("Nadam", "mixed_float16", marks=pytest.mark.compiled),
    ],
)
def test_a_run_goes_on_after_loading(name, policy, tmp_path):
    keras.mixed_precision.set_global_policy(policy)
    arguments = {"weight_decay": 0.1, "spared": ("bias",), "learning_rate": 1e-2}
    arguments |= {"momentum": 0.9} if name == "SGD" else {}
    model = network(by_layer(FALLING, name, **arguments))
    fit(model, epochs=2)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    assert fit(again, epochs=2) == fit(model, epochs=2)
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))


def test_exclusions_survive_loading(tmp_path):
    """Those of a plain optimizer do not: after loading, everything decays."""
    plain = keras.optimizers.AdamW(1e-2, weight_decay=0.1)
    plain.exclude_from_weight_decay(var_names=["bias"])
    ours = by_layer(EQUAL, "AdamW", spared=("bias",), learning_rate=1e-2, weight_decay=0.1)
    same = []
    for optimizer in (plain, ours):
        model = network(optimizer)
        model.set_weights([weight + 1 for weight in model.get_weights()])
        fit(model)
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        same.append(fit(model, epochs=2) == fit(again, epochs=2))
    assert same == [False, True]


def test_paths_that_change_with_loading(tmp_path):
    """A model that is built by its first batch names its variables otherwise after loading."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(6, activation="relu"), keras.layers.Dense(3)])
    model(IMAGES)
    made = model.trainable_variables
    named = [(one.path, one.shape, "all", True) for one in made]
    optimizer = SCALED["Adam"](factors={"all": 0.1}, rows=named, learning_rate=1e-2)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    fit(model)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert [one.path for one in again.trainable_variables] != [one.path for one in made]
    assert fit(again, epochs=2) == fit(model, epochs=2)


def test_weights_files_bring_the_slots(tmp_path):
    model, again = (network(by_layer(FALLING, learning_rate=1e-2)) for _ in range(2))
    fit(model)
    model.save_weights(tmp_path / "model.weights.h5")
    again.optimizer.build(again.trainable_variables)
    again.load_weights(tmp_path / "model.weights.h5")
    assert fit(again) == fit(model)


def test_callbacks_set_all_rates():
    model = network(by_layer(FALLING, learning_rate=0.1))
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)
    history = model.fit(IMAGES, LABELS, epochs=2, verbose=0, callbacks=[halve]).history
    assert history["learning_rate"] == pytest.approx([0.05, 0.025])
    assert model.optimizer.learning_rates == {"stem": 0.00025, "block": 0.0025, "top": 0.025}
    plateau = keras.callbacks.ReduceLROnPlateau(
        monitor="loss", patience=0, min_delta=10, factor=0.1
    )
    model.fit(IMAGES, LABELS, epochs=2, verbose=0, callbacks=[plateau])
    assert model.optimizer.learning_rates == {"stem": 2.5e-05, "block": 0.00025, "top": 0.0025}
    model.optimizer.learning_rate = 0.5
    assert float(model.optimizer.learning_rate) == 0.5


def test_rates_follow_a_schedule():
    rate = keras.optimizers.schedules.PolynomialDecay(0.4, 4, end_learning_rate=0.0)
    model = network(by_layer(FALLING, learning_rate=rate))
    fit(model, steps_per_epoch=2)
    assert model.optimizer.learning_rates == pytest.approx(
        {"stem": 0.002, "block": 0.02, "top": 0.2}
    )


def test_an_optimizer_of_ones_own():
    class Halved(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, learning_rate * 0.5)

    kind = scaled(Halved)
    assert scaled(Halved) is kind
    assert keras.saving.get_registered_object("keras_transfer>ScaledHalved") is kind
    made = variables({"plain": np.zeros((2, 3), "float32")})
    optimizer = kind(factors={"plain": 0.1}, rows=rows(made), learning_rate=1.0)
    np.testing.assert_allclose(
        trained(optimizer, made, GRADIENTS[:1])["plain"], -0.05 * GRADIENTS[0]["plain"], rtol=1e-6
    )
    other = type("Halved", (keras.optimizers.SGD,), {})
    with pytest.raises(checks.InputError, match="a second optimizer called 'Halved'"):
        scaled(other)


MIRRORED = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from keras_transfer.optimizers.per_variable import SCALED

rng = np.random.default_rng(0)
images, labels = rng.normal(size=(16, 8)).astype("float32"), rng.integers(0, 3, 16)
data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8, drop_remainder=True)
factors = {"stem": 0.01, "top": 1.0}


def trained(scope, name, policy):
    keras.mixed_precision.set_global_policy(policy)
    keras.utils.set_random_seed(0)
    with scope.scope():
        inputs = keras.Input((8,))
        x = keras.layers.Dense(6, activation="relu", name="stem")(inputs)
        model = keras.Model(inputs, keras.layers.Dense(3, name="top", dtype="float32")(x))
        made = model.trainable_variables
        rows = [(one.path, one.shape, one.path.split("/")[0], one.name == "kernel") for one in made]
        optimizer = SCALED[name](factors=factors, rows=rows, learning_rate=0.02, weight_decay=0.3)
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = model.fit(data, epochs=3, verbose=0).history["loss"]
    return losses, model.get_weights()


mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for name in ("AdamW", "Muon"):
    for policy in ("float32", "mixed_float16") if name == "AdamW" else ("float32",):
        one, two = (trained(scope, name, policy) for scope in (tf.distribute.OneDeviceStrategy("CPU:0"), mirrored))
        difference = max(float(np.abs(a - b).max()) for a, b in zip(one[1], two[1]))
        print(name, policy, one[0][-1], two[0][-1], difference)
"""


@pytest.mark.slow
def test_two_devices_are_one(run_code):
    done = run_code(MIRRORED)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [row.split() for row in done.stdout.splitlines()]
    assert [row[0] for row in found] == ["AdamW", "AdamW", "Muon"]
    for _, policy, one, two, difference in found:
        tolerance = 1e-6 if policy == "float32" else 1e-2
        np.testing.assert_allclose(float(two), float(one), rtol=tolerance)
        assert float(difference) < tolerance


def test_the_private_names_that_are_used_exist():
    """`_apply_weight_decay` reads `learning_rate` once for each variable; `_get_variable_index` gives its position."""
    plain = keras.optimizers.AdamW(1.0, weight_decay=0.5)
    made = variables()
    plain.build(made)
    assert [plain._get_variable_index(one) for one in made] == [0, 1, 2, 3]
    assert plain._use_weight_decay(made[0]) is True
    plain._apply_weight_decay(made[:1])
    np.testing.assert_allclose(values(made)["matrix"], START["matrix"] / 2, rtol=1e-6)
    plain._track_variable(more := keras.Variable(0.0))
    assert plain.variables[-1] is more
