import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from networks import small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.optimizers import schedules
from keras_transfer.training.rates import layer_rates
from keras_transfer.training.rates import search as finder

pytestmark = pytest.mark.compiled  # a search is a hundred steps

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)).astype("float32")
LABELS = (X[:, 0] > 0).astype("int64") + (X[:, 1] > 0)
PIXELS = RNG.integers(0, 256, (24, 32, 32, 3), dtype="uint8")


def batches(x=X, y=LABELS, size=8):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(size)


def network(optimizer, **compiled):
    """With dropout, batch normalisation, and a layer that does not train."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(6, trainable=False, name="frozen")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(
        keras.layers.Dense(8, activation="relu", name="block")(x)
    )
    x = keras.layers.Dropout(0.3, seed=1)(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="top", dtype="float32")(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], **compiled)
    return model


def values(variables):
    return [ops.convert_to_numpy(one).copy() for one in variables]


def state(model):
    """Weights, states of dropout, metrics and slots."""
    return values([*model.variables, *model.metrics_variables, *model.optimizer.variables])


def equal(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


OPTIMIZERS = {
    "sgd": lambda model: keras.optimizers.SGD(0.01, momentum=0.9),
    "schedule": lambda model: keras.optimizers.AdamW(
        schedules.make("cosine", 0.01, steps=50, warmup=0.1)
    ),
    "scaled": lambda model: layer_rates.layer_rates(
        "nadam", model, rates={"block": 1e-3}, weight_decay=0.1
    ),
    "average": lambda model: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
}


@pytest.mark.parametrize(
    ("name", "policy"), [*((name, "float32") for name in OPTIMIZERS), ("scaled", "mixed_float16")]
)
def test_everything_is_as_before(name, policy):
    """To the bit, in the middle of a run; and the run goes on as if there had been no search."""
    keras.mixed_precision.set_global_policy(policy)
    searched, twin = (network(OPTIMIZERS[name](network("sgd"))) for _ in range(2))
    for model in (searched, twin):
        model.fit(batches(), shuffle=False, verbose=0)
    before, optimizer, function = state(searched), searched.optimizer, searched.train_function
    config, rate = optimizer.get_config(), float(optimizer.learning_rate)
    assert len(before) == len(state(twin)) > 10
    search = finder.find_learning_rate(searched, batches(), highest=10.0, verbose=0)
    assert (
        max(search.losses) > 2 * search.losses[0]
    )  # it went astray, so there was something to put back
    equal(state(searched), before)
    assert (searched.optimizer, searched.train_function) == (optimizer, function)
    assert (optimizer.get_config(), float(optimizer.learning_rate)) == (config, rate)
    histories = [
        model.fit(batches(), epochs=2, shuffle=False, verbose=0).history
        for model in (searched, twin)
    ]
    assert histories[0] == histories[1]
    equal(state(searched), state(twin))


def test_an_error_in_the_middle_leaves_everything_as_before(monkeypatch):
    model = network("adam")
    model.fit(batches(), shuffle=False, verbose=0)
    before, optimizer = state(model), model.optimizer

    def broken(*_):
        model.train_on_batch(X, LABELS)
        raise KeyboardInterrupt

    monkeypatch.setattr(finder, "_range_test", broken)
    with pytest.raises(KeyboardInterrupt):
        finder.find_learning_rate(model, batches())
    equal(state(model), before)
    assert model.optimizer is optimizer


def test_a_model_that_never_trained_stays_so(tmp_path):
    model = network("adam")
    weights = values(model.variables)
    finder.find_learning_rate(model, batches(), verbose=0)
    equal(values(model.variables), weights)
    assert not model.optimizer.built
    assert model.train_function is None
    assert all(not np.any(value) for value in values(model.metrics_variables))
    model.get_layer("frozen").trainable = True
    model.fit(batches(), shuffle=False, verbose=0)
    assert len(model.optimizer.variables) == 2 + 2 * len(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    keras.models.load_model(tmp_path / "model.keras")


def test_only_what_trains_moves(monkeypatch):
    model, moved = network("adam"), {}
    start = {
        one.path: value for one, value in zip(model.weights, values(model.weights), strict=True)
    }
    original = finder._range_test

    def watched(*arguments):
        losses = original(*arguments)
        for one, value in zip(model.weights, values(model.weights), strict=True):
            moved[one.path] = bool(np.any(value != start[one.path]))
        return losses

    monkeypatch.setattr(finder, "_range_test", watched)
    finder.find_learning_rate(model, batches(), verbose=0)
    assert {path for path, does in moved.items() if not does} == {"frozen/kernel", "frozen/bias"}


@pytest.fixture
def data():
    return kt.data.from_arrays(PIXELS, np.arange(24) % 3, validation=0.25, batch_size=6, seed=0)


def of_blocks(**arguments):
    keras.utils.set_random_seed(0)
    model = kt.build_model(small(), kt.tasks.Classification(3, **arguments))
    model.trainable = False
    kt.unfreeze(model, above="block4*")
    kt.compile(model)
    return model


def orders(data, monkeypatch):
    """Records the number of each pass over the training data."""
    seen, original = [], data.epochs.order
    monkeypatch.setattr(data.epochs, "order", lambda epoch: seen.append(epoch) or original(epoch))
    return seen


def test_the_order_of_the_data_is_as_before(data, monkeypatch):
    data.set_epoch(3)
    model, seen = of_blocks(dropout=0.5), orders(data, monkeypatch)
    finder.find_learning_rate(model, data, steps=20, highest=0.1, verbose=0)
    assert seen == [3, 4, 5, 6, 7, 8, 9]  # 3 batches a pass
    assert data.epochs.next == 3
    twin = of_blocks(dropout=0.5)
    histories = []
    for one in (model, twin):
        data.set_epoch(3)
        histories.append(one.fit(data.train, shuffle=False, verbose=0).history)
    assert histories[0] == histories[1]


def test_the_training_part_may_bring_its_counter(data):
    train = data.train
    train.epochs = data.epochs
    data.set_epoch(3)
    finder.find_learning_rate(of_blocks(), train, steps=20, highest=0.1, verbose=0)
    assert data.epochs.next == 3


def test_targets_of_no_task_are_left_out():
    targets = {"kind": np.arange(24) % 3, "age": np.linspace(0, 1, 24).astype("float32")}
    data = kt.data.from_arrays(PIXELS, targets, validation=0.25, batch_size=6)
    model = kt.build_model(small(), {"kind": kt.tasks.Classification(3)})
    kt.freeze(model, below="block4*")
    kt.compile(model)
    assert finder.find_learning_rate(model, data, steps=20, highest=0.1, verbose=0).suggestion > 0


def line(**compiled):
    """`loss = (w - 3) ** 2` for images and targets of 1: SGD diverges above a rate of 1."""
    inputs = keras.Input((1,))
    model = keras.Model(
        inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(inputs)
    )
    model.compile("sgd", lambda y_true, y_pred: keras.ops.square(y_pred - 3), **compiled)
    return model


ONES = tf.data.Dataset.from_tensors((np.ones((1, 1), "float32"), np.ones((1, 1), "float32")))


def test_it_is_sgd_at_rising_rates():
    """A slow loop over the definition: one step at each rate, all on the same weight."""
    search = finder.find_learning_rate(line(), ONES, lowest=1e-4, highest=0.9, steps=50, verbose=0)
    w, expected = 0.0, []
    for step in range(50):
        expected.append((w - 3) ** 2)
        w -= 1e-4 * (0.9 / 1e-4) ** (step / 49) * 2 * (w - 3)
    np.testing.assert_allclose(
        search.rates, [1e-4 * 9000 ** (step / 49) for step in range(50)], rtol=1e-9
    )
    np.testing.assert_allclose(search.losses, expected, rtol=1e-4, atol=1e-5)
    assert 0.01 < search.suggestion < 0.5


def test_it_stops_where_the_loss_diverges():
    search = finder.find_learning_rate(line(), ONES, lowest=1e-3, highest=1e4, steps=100, verbose=0)
    assert 1 < search.rates[-1] < 100
    assert len(search.rates) == len(search.losses) == len(search.smoothed) < 80
    assert search.suggestion < 1


def test_losses_below_zero_are_no_divergence():
    inputs = keras.Input((1,))
    model = keras.Model(
        inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(inputs)
    )
    model.compile("sgd", lambda y_true, y_pred: keras.ops.square(y_pred - 3) - 10)
    search = finder.find_learning_rate(model, ONES, lowest=1e-4, highest=0.9, steps=50, verbose=0)
    assert len(search.losses) == 50
    assert (
        search.suggestion
        == finder.find_learning_rate(
            line(), ONES, lowest=1e-4, highest=0.9, steps=50, verbose=0
        ).suggestion
    )


def test_a_loss_that_is_no_number_ends_the_search():
    """At about 3 / 2 the weight goes beyond 1, where the logarithm ends."""
    inputs = keras.Input((1,))
    model = keras.Model(
        inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(inputs)
    )
    model.compile("sgd", lambda y_true, y_pred: -keras.ops.log(1 - y_pred) - 3 * y_pred)
    before = values(model.weights)
    search = finder.find_learning_rate(model, ONES, lowest=1e-3, highest=1e3, steps=60, verbose=0)
    assert len(search.losses) < 60
    assert np.isfinite([*search.losses, *search.smoothed]).all()
    assert 0 < search.suggestion < 1.5
    equal(values(model.weights), before)


def test_smoothing_is_a_weighted_mean():
    losses = RNG.normal(size=50).tolist()
    width = finder.WIDTH * 50
    for at, found in enumerate(finder.smooth(losses)):
        weights = [math.exp(-0.5 * ((at - other) / width) ** 2) for other in range(50)]
        expected = sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)
        assert found == pytest.approx(expected, rel=1e-9)


def test_the_rule_by_hand():
    """It begins at 3 and falls by 3 to 0 at 1e-2: two thirds are behind at 1, last passed between 1.5 and 1.0."""
    rates_ = [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    assert finder.suggest(rates_, [3.0, 3.0, 2.5, 1.5, 1.0, 0.0, 0.5, 9.0]) == 1e-3
    assert (
        finder.suggest(rates_, [3.0, 0.9, 2.5, 1.5, 0.9, 0.0, 0.5, 9.0]) == 1e-3
    )  # a dip before is noise
    assert finder.suggest(rates_, [3.0, 3.0, 2.5, 1.5, 1.1, 0.0, 0.5, 9.0]) == 1e-2
    assert finder.suggest([0.0123456, 0.123456], [1.0, 0.0]) == 0.12


@pytest.mark.parametrize("smoothed", [[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
def test_a_loss_that_never_falls(smoothed):
    with pytest.raises(
        checks.InputError, match="the loss must fall at some learning rate. Given: 1 at 0.1"
    ):
        finder.suggest([0.1, 0.2, 0.3], smoothed)


def test_one_line_says_the_result(capsys):
    model = network("adam")
    search = finder.find_learning_rate(model, batches())
    (printed,) = capsys.readouterr().out.splitlines()
    assert printed.startswith(
        f"keras_transfer: suggested learning rate {search.suggestion:g}: the loss fell from "
    )
    finder.find_learning_rate(model, batches(), verbose=0)
    assert capsys.readouterr().out == ""


def test_noise_is_said(capsys):
    rng = np.random.default_rng(2)  # its own: which tests ran before must not matter
    images, labels = rng.normal(size=(400, 6)), rng.integers(0, 3, 400)
    model = network(keras.optimizers.SGD())
    finder.find_learning_rate(model, batches(images, labels, size=4), highest=1e-3)
    assert "but it differs more from batch to batch: try more steps" in capsys.readouterr().out


def test_the_drawing(tmp_path):
    search = finder.find_learning_rate(line(), ONES, lowest=1e-3, highest=1e4, steps=100, verbose=0)
    axes = search.plot().axes[0]
    losses, smoothed, marked = axes.lines
    np.testing.assert_array_equal(losses.get_xydata(), np.transpose([search.rates, search.losses]))
    np.testing.assert_array_equal(
        smoothed.get_xydata(), np.transpose([search.rates, search.smoothed])
    )
    assert set(marked.get_xdata()) == {search.suggestion}
    assert axes.get_ylim()[1] < max(search.losses)
    for name, start in (("lr.png", b"\x89PNG"), ("lr.svg", b"<?xml"), ("lr.pdf", b"%PDF")):
        search.save(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(
        checks.InputError, match="`path` must be one of '.png', '.svg', '.pdf'. Given: '.txt'"
    ):
        search.save(tmp_path / "lr.txt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lowest": 0.0}, "`lowest` must be a number above 0"),
        ({"lowest": 1.0}, "`lowest` must be less than `highest`. Given: 1.0 and 1.0"),
        ({"highest": float("inf")}, "`highest`"),
        ({"steps": 19}, "`steps` must be a whole number of at least 20"),
        ({"dataset": 3}, "`dataset` must come from kt.data"),
        ({"dataset": np.zeros(3)}, r"`dataset` must give \(images, targets\)"),
        ({"dataset": tf.data.Dataset.range(3)}, r"`dataset` must give \(images, targets\)"),
        ({"dataset": batches().take(0)}, "`dataset` must have training examples"),
    ],
)
def test_wrong_arguments(arguments, message):
    given = {"dataset": batches(), **arguments}
    with pytest.raises(checks.InputError, match=message):
        finder.find_learning_rate(network("adam"), given.pop("dataset"), **given)


def test_data_without_a_loss():
    broken = ONES.map(lambda x, y: (x * np.nan, y))
    with pytest.raises(
        checks.InputError, match="a steady number at low .* Given: nan at step 1. Lower `lowest`"
    ):
        finder.find_learning_rate(line(), broken)


def test_models_that_cannot_be_searched():
    model = network("adam")
    frozen = network("adam")
    frozen.trainable = False
    several = network("adam")
    wrong = [
        (keras.Model(model.input, model.output), "must be compiled"),
        (frozen, "all of it frozen"),
    ]
    if hasattr(keras.optimizers, "MultiOptimizer"):
        several.compile(
            layer_rates.multi_optimizer("sgd", several, optimizers={"top": "adam"}), "mse"
        )
        wrong.append((several, "one learning rate. Given: a MultiOptimizer"))
    for one, message in wrong:
        with pytest.raises(checks.InputError, match=message):
            finder.find_learning_rate(one, batches())
    data = kt.data.from_arrays(PIXELS, np.arange(24) % 3)
    data.train = None
    with pytest.raises(checks.InputError, match="with a training part"):
        finder.find_learning_rate(model, data)


@pytest.mark.parametrize(
    "compiled", [{"jit_compile": True}, {"steps_per_execution": 4}, {"run_eagerly": True}]
)
def test_every_way_to_compile(compiled):
    expected = finder.find_learning_rate(line(), ONES, lowest=1e-3, steps=20, verbose=0)
    found = finder.find_learning_rate(line(**compiled), ONES, lowest=1e-3, steps=20, verbose=0)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5, atol=1e-6)
