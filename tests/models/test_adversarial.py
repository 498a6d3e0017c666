"""A discriminator learns beside the model: in the same step, with its own optimizer, in no file."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.models import adversarial, adversary
from keras_transfer.training.run import state

RNG = np.random.default_rng(0)
CLEAN = RNG.integers(0, 256, (8, 32, 32, 3)).astype("uint8")
NOISY = np.clip(CLEAN + RNG.normal(0, 30, CLEAN.shape), 0, 255).astype("uint8")


def build(loss=("l1", "adversarial"), **options):
    keras.utils.set_random_seed(0)
    task = kt.tasks.ImageToImage(width=8, loss=loss, **options)
    return kt.build_model(kt.backbone("tiny", weights=None), task, seed=0)


def values(variables):
    return [np.array(variable) for variable in variables]


def test_a_step_is_that_of_two_optimizers():
    """The model's step by its losses and the judgement; then the discriminator's by least squares, by hand."""
    import tensorflow as tf

    model = build()
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=model.loss)
    opponent = model.opponents()["image_to_image"]
    twin = adversary.Adversary(3)
    for one, other in zip(opponent.variables, twin.variables, strict=True):
        np.testing.assert_array_equal(one, other)

    images, pictures = NOISY.astype("float32"), CLEAN.astype("float32")
    weights = np.array([1, 0] * 4, "float32")
    kept = weights > 0
    variables = model.trainable_variables
    before, everything = values(variables), model.get_weights()
    with tf.GradientTape() as tape:
        answers = model(images, training=True)
        judged = tf.reduce_mean((twin.network(answers[kept] / 127.5 - 1) - 1) ** 2)
        cost = tf.reduce_mean(tf.abs(answers - pictures)[kept]) / 255 + 0.01 * judged
    wanted = tape.gradient(cost, [variable.value for variable in variables])
    model.set_weights(everything)  # statistics moved
    logs = model.train_on_batch(images, pictures, sample_weight=weights, return_dict=True)
    for start, variable, gradient in zip(before, model.trainable_variables, wanted, strict=True):
        np.testing.assert_allclose(variable, start - 0.1 * np.array(gradient), atol=2e-5)

    with tf.GradientTape() as tape:
        true = twin.network(pictures[kept] / 127.5 - 1)
        made = twin.network(tf.constant(answers.numpy()[kept]) / 127.5 - 1)
        cost = (tf.reduce_mean((true - 1) ** 2) + tf.reduce_mean(made**2)) / 2
    assert logs["discriminator_loss"] == pytest.approx(float(cost), rel=1e-4)
    own = twin.network.trainable_variables
    gradients = tape.gradient(cost, [variable.value for variable in own])
    twin.optimizer.apply_gradients(zip(gradients, own, strict=True))
    assert np.abs(np.array(own[0]) - adversary.Adversary(3).variables[0]).max() > 1e-4
    for one, other in zip(opponent.variables, twin.variables, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_measuring_and_files_know_nothing_of_it(tmp_path):
    model = build()
    plain = build(loss="l1")
    model.fit(NOISY, CLEAN, batch_size=4, epochs=1, verbose=0)
    opponent = model.opponents()["image_to_image"]
    learned = values(opponent.variables)
    logs = model.evaluate(NOISY, CLEAN, verbose=0, return_dict=True)
    assert set(logs) == {"loss"}
    for value, variable in zip(learned, opponent.variables, strict=True):
        np.testing.assert_array_equal(value, variable)
    assert len(model.variables) == len(plain.variables)
    assert len(model.weights) == len(plain.weights)
    model.save(tmp_path / "m.keras")
    again = kt.load_model(tmp_path / "m.keras")
    assert isinstance(again, adversarial.AdversarialModel)
    np.testing.assert_array_equal(again(NOISY), model(NOISY))
    again.fit(NOISY, CLEAN, verbose=0)
    kt.export(model, tmp_path / "1")
    kt.export(plain, tmp_path / "2")
    sizes = [
        (tmp_path / name / "variables/variables.data-00000-of-00001").stat().st_size
        for name in "12"
    ]
    assert sizes[0] == sizes[1]


class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 3:
            raise KeyboardInterrupt


def test_a_killed_run_goes_on_to_the_bit(tmp_path):
    options = {
        "stages": [
            kt.Stage(epochs=2, train="head"),
            kt.Stage(epochs=3, train="block4*"),
        ],
        "cache": "memory",
        "seed": 1,
        "verbose": 0,
    }
    whole = build()
    kt.fine_tune(whole, (NOISY, CLEAN), **options)
    first = build()
    with pytest.raises(KeyboardInterrupt):
        kt.fine_tune(first, (NOISY, CLEAN), run_dir=tmp_path, callbacks=[Kill()], **options)
    second = build()
    history = kt.fine_tune(second, (NOISY, CLEAN), run_dir=tmp_path, resume=True, **options)
    assert len(history.history["discriminator_loss"]) == 5
    for one, other in zip(
        state._variables(whole).items(), state._variables(second).items(), strict=True
    ):
        assert one[0] == other[0]
        np.testing.assert_array_equal(one[1], other[1])


def test_beside_other_tasks():
    tasks = {
        "clean": kt.tasks.ImageToImage(width=8, loss=("l1", "adversarial")),
        "kind": kt.tasks.Classification(2),
    }
    model = kt.build_model(kt.backbone("tiny", weights=None), tasks)
    before = values(model.companions)
    targets = {"clean": CLEAN, "kind": np.arange(8) % 2}
    logs = model.fit(NOISY, targets, verbose=0).history
    assert "discriminator_loss" in logs
    moved = [np.abs(a - b).max() for a, b in zip(before, values(model.companions), strict=True)]
    assert max(moved) > 0
    with pytest.raises(checks.InputError, match="`balance_on` must be 'representation'"):
        kt.build_model("tiny", tasks, balancing="pcgrad", balance_on="weights")


def test_it_needs_another_loss():
    with pytest.raises(checks.InputError, match="another part beside 'adversarial'"):
        kt.tasks.ImageToImage(loss="adversarial")
