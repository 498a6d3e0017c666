"""Training under JAX: equalities between two ways to the same weights."""

import keras
import numpy as np
import pytest
from engine import runs

import keras_transfer as kt
from keras_transfer.graphs import compiling
from keras_transfer.machine import engine
from keras_transfer.training.run import state

pytestmark = pytest.mark.engine

STAGES = [
    kt.Stage(epochs=2, train="head", learning_rate=1e-2),
    kt.Stage(
        epochs=2, train="block3_conv", learning_rate=1e-3, ema=0.9, schedule="cosine", warmup=0.2
    ),
]


def largest_difference(one, other):
    assert set(one) == set(other)
    return max(float(np.abs(one[name] - other[name]).max(initial=0.0)) for name in one)


def test_kept_outputs_of_frozen_layers_train_as_images_do(monkeypatch):
    """With dropout above them, and a last batch that is smaller."""
    trained = {}
    for place in ("off", "memory", "device"):
        model, data = runs.one_task(dropout=0.2)
        if place == "device":
            monkeypatch.setattr(engine, "free_device_memory", lambda: 10**9)
        cache = "off" if place == "off" else "memory"
        history = runs.train(model, data, stages=STAGES, cache=cache)
        trained[place] = runs.weights(model)
        notes = " ".join(history.record["notes"])
        assert notes.count("frozen layers run once") == (place != "off")
        assert notes.count("lie on the accelerator") == 2 * (place == "device")
    assert largest_difference(trained["off"], trained["memory"]) <= 1e-6
    assert largest_difference(trained["device"], trained["memory"]) == 0.0


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_run_that_was_killed_goes_on_to_the_bit(tmp_path, epoch):
    options = {"stages": STAGES, "augment": "light"}
    whole, data = runs.one_task(dropout=0.2)
    runs.train(whole, data, **options)

    model, data = runs.one_task(dropout=0.2)
    with pytest.raises(runs.KilledError):
        runs.train(model, data, run_dir=tmp_path, callbacks=[runs.Kill(epoch)], **options)
    assert state.read(tmp_path).facts["at"]["epoch"] == epoch
    again, data = runs.one_task(dropout=0.2)
    keras.utils.set_random_seed(7)  # what the state does not hold must not count
    runs.train(again, data, run_dir=tmp_path, resume=True, **options)
    assert largest_difference(runs.weights(again), runs.weights(whole)) == 0.0


def test_two_stages_in_one_fit_are_two_fits():
    images, labels = runs.images(32)
    one, _ = runs.one_task(dropout=0.2)
    two, _ = runs.one_task(dropout=0.2)

    callback = kt.TwoStage(unfreeze_at=2, unfreeze="block3_conv", learning_rate=1e-3, verbose=False)
    options = {
        "batch_size": 16,
        "shuffle": False,
        "verbose": 0,
        "validation_data": (images, labels),
    }
    one.fit(images, labels, epochs=3, callbacks=[callback], **options)

    kt.freeze(two, below="classification_logits")
    compiling.recompile(two, keras.optimizers.Adam(1e-3))
    two.fit(images, labels, epochs=2, **options)
    kt.unfreeze(two, above="block3_conv")
    compiling.recompile(two, keras.optimizers.Adam(1e-3))
    two.fit(images, labels, epochs=3, initial_epoch=2, **options)
    assert largest_difference(runs.weights(one), runs.weights(two)) == 0.0


def test_the_balancer_moves_only_while_something_below_it_trains():
    model, data = runs.two_tasks("gradnorm")
    before = runs.weights(model)
    runs.train(model, data, stages=[kt.Stage(epochs=1, train="head", learning_rate=1e-2)])
    frozen = runs.weights(model)
    runs.train(model, data, stages=[kt.Stage(epochs=1, train="all", learning_rate=1e-2)])
    trained = runs.weights(model)
    np.testing.assert_array_equal(frozen["balance/weights"], before["balance/weights"])
    assert np.abs(trained["balance/weights"] - frozen["balance/weights"]).max() > 1e-4


def test_balancers_of_losses_move_where_outputs_are_kept():
    """The part of the model that trains on kept outputs does not hold the balancer's layer."""
    trained = {}
    for cache in ("off", "memory"):
        model, data = runs.two_tasks("uncertainty")
        stages = [kt.Stage(epochs=3, train="head", learning_rate=1e-2, optimizer="sgd")]
        runs.train(model, data, stages=stages, cache=cache)
        trained[cache] = runs.weights(model)
    assert np.abs(trained["memory"]["balance/log_variance"]).max() > 1e-4
    assert largest_difference(trained["off"], trained["memory"]) <= 1e-6


def test_statistics_are_those_of_the_data():
    """Means over all images, in two batches of unequal size, of one layer only; no weight moves."""
    model, _ = runs.one_task(dropout=0.5)
    images, labels = runs.images(40)
    before = runs.weights(model)
    named = kt.training.recalibrate(model, (images, labels), norms=["block1_norm"])
    seen = kt.features.extract(model, images, layers="block1_conv", verbose=0)
    maps = seen.arrays["block1_conv"]
    after = runs.weights(model)
    assert named == ["block1_norm"]
    np.testing.assert_allclose(
        after["block1_norm/moving_mean"], maps.mean(axis=(0, 1, 2)), atol=1e-4
    )
    np.testing.assert_array_equal(
        after["block2_norm/moving_mean"], before["block2_norm/moving_mean"]
    )
    np.testing.assert_array_equal(after["block1_conv/kernel"], before["block1_conv/kernel"])


def test_methods_of_training_and_curves_by_block():
    """A solved head, low-rank updates and a penalty, one after the other."""
    model, data = runs.one_task()
    stages = [
        kt.Stage(solve=True),
        kt.Stage(epochs=1, train="all", learning_rate=1e-3, lora=2),
        kt.Stage(epochs=2, train="block3_conv", learning_rate=1e-3, regulariser=kt.training.L2SP()),
    ]
    watch = ("distance", "gradient")
    history = runs.train(model, data, stages=stages, watch=watch, seed=1)
    losses, insight = history.history["loss"], history.record["insight"]
    assert losses[0] < 0.1  # the head is solved for already
    assert np.isfinite(losses).all()  # a penalty is part of the last ones
    assert all(each["gradient"]["block3_conv"] > 0 for each in insight[1:])
    assert insight[-1]["distance"]["block3_conv"] > 0


def test_a_rate_is_found_and_the_model_is_as_before():
    model, data = runs.one_task()
    before = runs.weights(model)
    found = kt.find_learning_rate(model, data, steps=30, verbose=0)
    assert 1e-6 < found.suggestion < 1.0
    assert largest_difference(runs.weights(model), before) == 0.0


@pytest.mark.parametrize(
    ("task", "labels", "score"),
    [("Segmentation", "mask", "mean_iou"), ("Detection", "boxes", "map50")],
)
def test_tasks_with_a_value_a_place(task, labels, score):
    data = kt.data.scenes(
        24, image_size=32, targets=labels, validation=0.25, batch_size=8, max_objects=1
    )
    backbone = runs.network() if task == "Segmentation" else runs.deep_network()
    model = kt.build_model(backbone, getattr(kt.tasks, task)(data.class_names))
    history = runs.train(model, data, stages=[kt.Stage(epochs=3, train="all", learning_rate=3e-3)])
    losses = history.history["loss"]
    assert losses[-1] < losses[0]
    assert np.isfinite(kt.evaluate(model, data, verbose=0)[score])
