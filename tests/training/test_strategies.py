"""Several devices give what one gives: weights, logs and answers, in whatever is trained."""

import pathlib

import keras
import numpy as np
import pytest
from errors import told

import keras_transfer as kt
from keras_transfer.machine import strategy
from keras_transfer.training.rates import batch_rules

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (126, 16, 16, 3), dtype="uint8")
# The training part has 101 images: three batches of 32, and one of 5.
KIND = [None if at % 4 == 0 else at * 7 % 3 for at in range(126)]
AGE = np.where(np.arange(126) % 3 == 0, np.nan, RNG.normal(5, 2, 126)).astype("float32")
TAGS = [["a"] if at % 2 else ["a", "b"] for at in range(126)]
TASKS = {
    "kind": lambda: kt.tasks.Classification(3, class_weights="balanced"),
    "age": lambda: kt.tasks.Regression(),
    "tags": lambda: kt.tasks.MultiLabel(["a", "b"]),
}


def stages(**last):
    head = kt.Stage(epochs=1, train="head", optimizer="sgd", learning_rate=1e-2)
    return [head, kt.Stage(epochs=1, train="all", optimizer="sgd", learning_rate=1e-2, **last)]


def backbone(dropout=0.0, norms=False):
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3))
    for number in (1, 2):
        x = keras.layers.Conv2D(6, 3, strides=2, name=f"block{number}_conv")(x)
        if norms:
            x = keras.layers.BatchNormalization(name=f"block{number}_bn")(x)
        x = keras.layers.ReLU(name=f"block{number}_relu")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return kt.backbone(keras.Model(image, x, name="small"), preprocess="tf")


def joint(balancing, **options):
    tasks = {name: make() for name, make in TASKS.items()}
    return kt.build_model(backbone(), tasks, balancing=balancing, seed=0, **options)


def joint_data():
    labels = {"kind": KIND, "age": AGE, "tags": TAGS}
    kinds = {"kind": "category", "age": "number", "tags": "tags"}
    return kt.data.from_arrays(
        PIXELS, labels, targets=kinds, validation=25 / 126, batch_size=32, seed=0
    )


def train_joint(balancing, plan, cache="off", **options):
    model = joint(balancing, **options)
    data = joint_data()
    history = kt.fine_tune(
        model, data, stages=plan, cache=cache, augment=None, refit=False, seed=0, verbose=0
    )
    rows = data.validation.unbatch().batch(9)  # the last batch has 7 rows
    measured = model.evaluate(rows, verbose=0, return_dict=True)
    answers = model.predict(PIXELS[:9], batch_size=4, verbose=0)  # the last batch has one row
    return model, {"logs": history.history, "measured": measured, "answers": answers}


def one_task(**options):
    return kt.build_model(backbone(**options), kt.tasks.Classification(3), seed=0)


def train_arrays():
    """Keras's own `fit` on arrays, with a metric that takes no weights; one batch has a single row."""
    model = one_task()
    labels = np.arange(9) % 3
    optimizer = keras.optimizers.SGD(1e-2, global_clipnorm=0.1)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    images = PIXELS[:9]
    history = model.fit(
        images,
        labels,
        batch_size=4,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_data=(images[:5], labels[:5]),
    )
    answers = [
        model.predict(images[:5], batch_size=4, verbose=0),
        model.predict(images[:1], verbose=0),
        model.predict_on_batch(images[:3]),
        kt.predict(model, images[:3]).outputs,
    ]
    return model, {"logs": history.history, "answers": answers}


def train_dense(task, targets, labels):
    keras.utils.set_random_seed(0)
    model = kt.build_model(kt.backbone("tiny", image_size=64), task, seed=0)
    images = np.random.default_rng(1).integers(0, 256, (6, 64, 64, 3), dtype="uint8")
    data = kt.data.from_arrays(
        images, labels, targets=targets, class_names=["a", "b"], validation=1 / 6, batch_size=4
    )
    plan = [kt.Stage(epochs=1, train="head", optimizer="sgd", learning_rate=1e-3)]
    history = kt.fine_tune(
        model, data, stages=plan, cache="off", augment=None, refit=False, seed=0, verbose=0
    )
    return model, {"logs": history.history}


def train_masks():
    labels = np.arange(6 * 64 * 64).reshape(6, 64, 64) // 7 % 2
    return train_dense(kt.tasks.Segmentation(["a", "b"]), "mask", labels.astype("uint8"))


def train_boxes():
    labels = [{"boxes": [[4, 4, 40, 40]], "labels": ["a"]}, None] * 2
    labels += 2 * [{"boxes": [[9, 9, 30, 60], [1, 1, 20, 20]], "labels": ["b", "a"]}]
    return train_dense(kt.tasks.Detection(["a", "b"]), "boxes", labels)


def train_norms():
    """Statistics of the whole batch."""
    model = one_task(norms=True)
    plan = [kt.Stage(epochs=2, train="all", batch_norm="synchronized", optimizer="sgd")]
    data = kt.data.from_arrays(PIXELS[:24], np.arange(24) % 3, validation=1 / 3, batch_size=8)
    kt.fine_tune(
        model, data, stages=plan, augment=None, calibrate=False, refit=False, seed=0, verbose=0
    )
    return model, {}


CASES = {
    "synchronized": train_norms,
    "uncertainty": lambda: train_joint("uncertainty", stages()),
    "pcgrad": lambda: train_joint("pcgrad", stages(clip_norm=0.3), cache="memory"),
    "weights": lambda: train_joint("pcgrad", stages(ema=0.9, decay=0.5), balance_on="weights"),
    "arrays": train_arrays,
    "masks": train_masks,
    "boxes": train_boxes,
}


SCRIPT = """
import sys
import numpy as np, tensorflow as tf
count, names = int(sys.argv[2]), sys.argv[3].split(",")
virtual = [tf.config.LogicalDeviceConfiguration()] * count
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], virtual)
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/.."]
import keras, keras_transfer as kt
import test_strategies as here

tf.config.run_functions_eagerly(True)  # on one device, where a graph takes longer to make than to run
one = {name: here.CASES[name]() for name in names}
tf.config.run_functions_eagerly(False)
strategy = kt.strategy("mirrored", devices=count)
for name in names:
    with strategy.scope():
        model, results = here.CASES[name]()
    assert model.distribute_strategy is strategy
    for value, other in zip(model.get_weights(), one[name][0].get_weights(), strict=True):
        np.testing.assert_allclose(value, other, atol=1e-5, rtol=1e-5, err_msg=name)
    for value, other in zip(keras.tree.flatten(results), keras.tree.flatten(one[name][1]), strict=True):
        np.testing.assert_allclose(value, other, atol=1e-6, rtol=1e-6, err_msg=name)
here.check_what_is_told(strategy)
here.check_files(strategy, sys.argv[4])
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "names"),
    [(2, "uncertainty,pcgrad,arrays,synchronized,masks"), (4, "uncertainty,pcgrad,weights,boxes")],
)
def test_devices_are_one(devices, names, run_code, tmp_path):
    done = run_code(SCRIPT, pathlib.Path(__file__).parent, devices, names, tmp_path)
    assert done.stdout.split()[-1:] == ["equal"], done.stdout[-2000:] + done.stderr[-3000:]


def check_what_is_told(mirrored):
    """What a process with a strategy refuses, and what differs between its devices."""
    outside = one_task()
    data = kt.data.from_arrays(PIXELS[:9], np.arange(9) % 3, validation=1 / 3, batch_size=4)
    told(lambda: kt.fine_tune(outside, data, verbose=0), "built in the scope of the strategy")
    told(lambda: outside.fit(PIXELS[:4], np.zeros(4)), "built in the scope of the strategy")
    told(lambda: kt.strategy("one"), "a process must make one strategy only")

    with mirrored.scope():
        model = one_task(dropout=0.5, norms=True)
    few = kt.data.from_arrays(PIXELS[:9], np.arange(9) % 3, validation=1 / 3, batch_size=1)
    told(lambda: kt.fine_tune(model, few, verbose=0), "`batch_size` must be at least the number")
    check_dropout(mirrored, model)


def check_files(mirrored, folder):
    """Files of a model that trained on several devices are those of any other."""
    with mirrored.scope():
        model = one_task(norms=True)
    kt.export(model, folder + "/export")
    kt.verify(folder + "/export", model, PIXELS[:3])
    model.save(folder + "/model.keras")
    answers = kt.load_model(folder + "/model.keras").predict(PIXELS[:3], verbose=0)
    np.testing.assert_allclose(answers, model.predict(PIXELS[:3], verbose=0), atol=1e-6)


def check_dropout(mirrored, model):
    """Each device drops others, in `fit` only: outside, and in files, the seeds are those of one device."""
    seeds = model.get_layer("dropout").seed_generator.state.value
    seen = []

    def read(epoch, logs=None):
        seen.append([tuple(part.numpy()) for part in mirrored.experimental_local_results(seeds)])

    watch = keras.callbacks.LambdaCallback(on_epoch_begin=read)
    read(0)
    model.fit(PIXELS[:8], np.arange(8) % 3, callbacks=[watch], verbose=0)
    read(0)
    before, within, after = seen
    assert len(set(before)) == len(set(after)) == 1
    assert len(set(within)) == len(within)
    assert within[0] == before[0]


@pytest.mark.parametrize(
    ("rule", "rate"), [("none", 1e-3), ("linear", 4e-3), ("square_root", 2e-3)]
)
def test_rates_follow_the_batch_of_all_devices(rule, rate):
    plan = [kt.Stage(epochs=1), kt.Stage(epochs=1, learning_rate={"head": 1e-3})]
    changed, notes = batch_rules.apply(plan, rule, batch_size=128, replicas=8)
    assert changed[0].learning_rate == pytest.approx(rate)
    assert changed[1].learning_rate["head"] == pytest.approx(rate)
    assert notes[0] == "Each batch of 128 is shared by 8 devices, 16 each."
    assert len(notes) == 1 + (rule != "none")


def test_rules_that_cannot_be_applied_are_told():
    plan = [kt.Stage(epochs=1, learning_rate=keras.optimizers.schedules.CosineDecay(1e-3, 9))]
    rules = {"batch_size": 64, "replicas": 1}
    told(lambda: batch_rules.apply(plan, "linaer", **rules), "Close names: 'linear'")
    told(lambda: batch_rules.apply(plan, "linear", **rules), "a schedule of its own")
    told(lambda: batch_rules.apply(plan, "linear", batch_size=None, replicas=1), "known batch size")


class BrokenError(Exception):
    pass


def break_off(epoch, logs=None):
    if epoch == 1:
        raise BrokenError


def test_a_run_goes_on_with_as_many_devices(tmp_path, monkeypatch):
    data = kt.data.from_arrays(PIXELS[:9], np.arange(9) % 3, validation=1 / 3, batch_size=4)
    plan = [kt.Stage(epochs=2, train="head")]
    options = {"stages": plan, "augment": None, "run_dir": tmp_path, "verbose": 0}
    broken = keras.callbacks.LambdaCallback(on_epoch_begin=break_off)
    with pytest.raises(BrokenError):
        kt.fine_tune(one_task(), data, callbacks=[broken], **options)

    monkeypatch.setattr(strategy, "count_replicas", lambda model: 2)
    told(
        lambda: kt.fine_tune(one_task(), data, resume=True, **options),
        "a run must be resumed with the same number of devices",
    )
