"""Runs that both engines make from the same weights, and, as a program, the part of the tests that is TensorFlow's.

The program is given a folder in which JAX has left a model and an interrupted run. It writes the numbers of its own
runs there, what it makes of these two, and the same two things for JAX.
"""

import pathlib
import sys

import keras
import numpy as np

import keras_transfer as kt
from keras_transfer import balancing
from keras_transfer.machine import engine

BALANCINGS = (
    "none",
    "uncertainty",
    "gradnorm",
    "cagrad",
    "aligned_mtl",
    "pcgrad",
    "pcgrad on weights",
)


class KilledError(Exception):
    """Ends a run as a kill would: nothing that comes after an epoch is written."""


class Kill(keras.callbacks.Callback):
    """Ends a run when an epoch begins."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KilledError


def network():
    """A trunk of three blocks with batch normalisation."""
    x = image = keras.Input((32, 32, 3))
    for number, strides in enumerate((2, 2, 1), 1):
        x = keras.layers.Conv2D(
            8, 3, strides=strides, padding="same", use_bias=False, name=f"block{number}_conv"
        )(x)
        x = keras.layers.BatchNormalization(name=f"block{number}_norm")(x)
        x = keras.layers.ReLU(name=f"block{number}_relu")(x)
    return kt.backbone(keras.Model(image, x, name="small"), preprocess="tf")


def deep_network():
    """A trunk whose maps have strides of up to 32."""
    x = image = keras.Input((32, 32, 3))
    for number in range(1, 6):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=f"block{number}_conv")(x)
        x = keras.layers.ReLU(name=f"block{number}_relu")(x)
    return kt.backbone(keras.Model(image, x, name="deep"), preprocess="tf")


def set_weights(model):
    """Gives a model the same weights in every process, on every engine."""
    draw = np.random.default_rng(1)
    values = []
    for variable, value in zip(model.weights, model.get_weights(), strict=True):
        is_drawn = variable.name in ("kernel", "bias", "gamma", "beta")
        values.append(draw.normal(0.1, 0.2, value.shape).astype("float32") if is_drawn else value)
    model.set_weights(values)
    return model


def images(count=60):
    labels = np.arange(count) % 3
    noise = np.random.default_rng(0).integers(0, 100, (count, 32, 32, 3))
    return (noise + 70 * labels[:, None, None, None]).astype("uint8"), labels


def one_task(**options):
    """A classification, and data whose last batch is smaller than the others."""
    keras.utils.set_random_seed(0)  # of dropout
    pixels, labels = images(52)
    data = kt.data.from_arrays(pixels, labels, validation=0.2, batch_size=16, seed=0)
    model = kt.build_model(network(), kt.tasks.Classification(3, **options))
    return set_weights(model), data


def two_tasks(spec="none"):
    """A classification and a regression, a part of whose labels are missing."""
    pixels, labels = images()
    count = len(labels)
    answers = {
        "kind": ["abc"[label] if at % 4 else None for at, label in enumerate(labels)],
        "age": [float(at % 5) if at % 3 else float("nan") for at in range(count)],
    }
    data = kt.data.from_arrays(pixels, answers, validation=0.2, batch_size=16, seed=0)
    tasks = {"kind": kt.tasks.Classification(["a", "b", "c"]), "age": kt.tasks.Regression()}
    name, _, place = spec.partition(" on ")
    options = {"balancing": None if name == "none" else name}
    if place:
        options["balance_on"] = place
    return set_weights(kt.build_model(network(), tasks, **options)), data


STAGES = [
    kt.Stage(epochs=1, train="head", learning_rate=1e-2, optimizer="sgd"),
    kt.Stage(epochs=2, train="all", learning_rate=1e-2, optimizer="sgd"),
]


def train(model, data, **options):
    usual = {"stages": STAGES, "refit": False, "calibrate": False, "seed": 0, "verbose": 0}
    return kt.fine_tune(model, data, **{**usual, **options})


def weights(model):
    """The weights that both engines have: seeds are of another type on each."""
    return {
        variable.path: value
        for variable, value in zip(model.weights, model.get_weights(), strict=True)
        if "seed" not in variable.path
    }


def numbers_of_training(spec):
    """Weights and logs of a run of two tasks, each under a name."""
    model, data = two_tasks(spec)
    history = train(model, data)
    numbers = {f"{spec}: {name}": value for name, value in weights(model).items()}
    logs = {f"{spec}: {name}": np.array(values) for name, values in history.history.items()}
    return numbers | logs


def compiled(function):
    """A function as it is in a training step of JAX, whose compiler reorders sums and quotients."""
    if not engine.is_jax():
        return function
    import jax

    return jax.jit(function)


def numbers_of_balancers():
    """What every balancer gives in three steps with four tasks, one of them not known in the second."""
    numbers = {}
    for name, kind in balancing.BALANCERS.items():
        for seed in range(2):
            draw = np.random.default_rng(seed)
            balancer = kind()
            step_of = balancer.weights
            if balancer.kind == "gradients":
                step_of = balancer.coefficients
            step_of = compiled(step_of)
            state = balancer.initial(4)
            for step in range(3):
                gradients = draw.normal(size=(4, 6)) * draw.uniform(0.3, 3.0, (4, 1))
                gram = (gradients @ gradients.T).astype("float32")
                if step == 0 or seed == 0:
                    losses = draw.uniform(0.2, 3.0, 4).astype("float32")
                else:  # all fall by a third: of their differences only rounding is left
                    losses = losses * np.float32(2 / 3)
                known = np.array([True, True, step != 1, True])
                arguments = (
                    (gram, losses, known) if balancer.kind == "gradients" else (losses, known)
                )
                answer, state = step_of(*arguments, state)
                place = f"{name}, seed {seed}, step {step}"
                numbers[place] = np.asarray(answer)
                numbers |= {f"{place}, {entry}": np.asarray(each) for entry, each in state.items()}
    return numbers


def interrupt(folder):
    """Leaves a run in a folder that ended after two of three epochs."""
    model, data = two_tasks("gradnorm")
    try:
        train(model, data, run_dir=folder, callbacks=[Kill(2)])
    except KilledError:
        return
    raise AssertionError("the run was not interrupted")


def go_on(folder):
    """Goes on with an interrupted run; returns the weights."""
    model, data = two_tasks("gradnorm")
    train(model, data, run_dir=folder, resume=True)
    return weights(model)


def answer(file):
    """The answers of a saved model for some images."""
    return keras.ops.convert_to_numpy(kt.load_model(file).predict(images(8)[0], verbose=0))


def main(folder):
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    numbers = numbers_of_balancers()
    for spec in BALANCINGS:
        numbers |= numbers_of_training(spec)
    numbers["answers to a model of JAX"] = answer(folder / "jax.keras")
    gone_on = go_on(folder / "jax")
    numbers |= {f"gone on: {name}": value for name, value in gone_on.items()}
    interrupt(folder / "tensorflow")
    model, _ = one_task()
    model.save(folder / "tensorflow.keras")
    numbers["answers of TensorFlow"] = answer(folder / "tensorflow.keras")
    np.savez(folder / "tensorflow.npz", **numbers)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
