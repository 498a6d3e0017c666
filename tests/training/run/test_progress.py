"""A stage ends by itself when its epochs have stopped helping."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.training.run.progress import Helping


def epochs_of(accuracies, losses, *, patience=2, examples=100, resumed_at=None):
    """Returns how many epochs are run, with the state written and read before an epoch if asked."""

    def begin(facts=None):
        callback = Helping("val_accuracy", patience=patience, examples=examples)
        callback.set_model(SimpleNamespace(stop_training=False))
        callback.resume(facts)
        callback.on_train_begin()
        return callback

    callback = begin()
    for epoch, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True)):
        if epoch == resumed_at:
            callback = begin(callback.facts())
        callback.on_epoch_end(epoch, {"val_accuracy": accuracy, "val_loss": loss})
        if callback.model.stop_training:
            return epoch + 1
    return len(losses)


RISING_LOSS = np.linspace(1, 2, 8)


@pytest.mark.parametrize("resumed_at", [None, 2])
def test_noise_and_a_rising_loss_do_not_help(resumed_at):
    """0.9 of 100 images has a standard error of 0.03; 0.92 is no help, 0.94 is."""
    noise = [0.90, 0.92, 0.92, 0.92, 0.92, 0.92, 0.92, 0.92]
    assert epochs_of(noise, RISING_LOSS, resumed_at=resumed_at) == 3
    help_ = [0.90, 0.92, 0.94, 0.92, 0.92, 0.92, 0.92, 0.92]
    assert epochs_of(help_, RISING_LOSS, resumed_at=resumed_at) == 5
    assert epochs_of(help_, RISING_LOSS, patience=3, resumed_at=resumed_at) == 6
    assert epochs_of(noise, RISING_LOSS[::-1], resumed_at=resumed_at) == 8
    assert epochs_of(noise, [1.0, *[np.nan] * 7], resumed_at=resumed_at) == 3


def test_more_images_are_less_noise():
    accuracies = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97]
    assert epochs_of(accuracies, RISING_LOSS, examples=10_000) == 8
    assert epochs_of(accuracies, RISING_LOSS, examples=10) == 3


def test_the_stage_says_why_it_ended(capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype="uint8")
    data = kt.data.from_arrays(pixels, np.arange(24) % 3, validation=0.25, batch_size=6)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, name="block1_conv")(image)
    model = kt.build_model(keras.Model(image, x), kt.tasks.Classification(3), seed=0)
    stage = kt.Stage(epochs=12, train="head", learning_rate=1e-12, early_stopping="auto")
    history = kt.fine_tune(model, data, stages=[stage], seed=0)
    assert len(history.epoch) < 8
    shown = capsys.readouterr().out
    assert f"ends after {len(history.epoch)} of 12 epochs: for 3 epochs the" in shown
    with pytest.raises(kt.InputError, match="`early_stopping`"):
        kt.Stage(epochs=2, early_stopping="automatic")
