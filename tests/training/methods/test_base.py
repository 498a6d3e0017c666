"""What holds for every row of the table of methods, and for one of a user's own."""

import contextlib

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import compiling, paths
from keras_transfer.training import methods

every_method = pytest.mark.parametrize("name", methods.METHODS)


def weights(model):
    return {
        path: keras.ops.convert_to_numpy(variable).copy()
        for path, variable in paths.variables(model).items()
    }


def stage_of(method):
    length = {} if method.replaces_fit else {"epochs": 1}
    return kt.Stage(method=method, learning_rate=1e-2, **length)


def train(model, images, labels, stage):
    data = kt.data.from_arrays(images.astype("uint8"), labels, validation=0, batch_size=8, seed=0)
    return kt.fine_tune(model, data, stages=[stage], seed=0, verbose=0)


@every_method
def test_contract(name):
    kt.testing.check_method(methods.METHODS[name]())


class Counting(methods.Method):
    """Forgets its argument in its config."""

    def __init__(self, count=1):
        self.count = count

    def __repr__(self):
        return f"Counting({self.count})"


class Thawing(methods.Method):
    """Moves a frozen layer."""

    @contextlib.contextmanager
    def attach(self, model, *, reference=None):
        yield methods.Trainee(model)
        kernel = model.get_layer("block1_conv").kernel
        kernel.assign(kernel + 1)


class Lazy(methods.Method):
    """Trains a copy and forgets to copy back what it learned."""

    @contextlib.contextmanager
    def attach(self, model, *, reference=None):
        copy = keras.models.clone_model(model)
        compiling.compile_like(copy, model)
        yield methods.Trainee(copy)


@pytest.mark.parametrize(
    ("method", "check"),
    [
        (Counting(2), "config_makes_the_method_again"),
        (Thawing(), "weights_move_and_frozen_ones_stay: moved although frozen"),
        (Lazy(), "weights_move_and_frozen_ones_stay: no weight moved"),
    ],
)
def test_the_check_finds_a_fault(method, check):
    with pytest.raises(AssertionError, match=check):
        kt.testing.check_method(method)


@pytest.mark.parametrize(
    ("flag", "method"),
    [({"solve": True}, "solved_head"), ({"lora": 4}, "low_rank"), ({}, "plain")],
)
def test_a_flag_and_a_name_mean_one_method(flag, method):
    length = {"epochs": None if "solve" in flag else 2}
    one, other = kt.Stage(**flag, **length), kt.Stage(method=method, **length)
    assert type(one.applied_method) is type(other.applied_method) is methods.METHODS[method]
    assert one.applied_method.get_config() == other.applied_method.get_config()


class Halving(methods.Method):
    """Trains plainly, then brings half of what was learned into the model."""

    @contextlib.contextmanager
    def attach(self, model, *, reference=None):
        before = weights(model)
        yield methods.Trainee(model)
        for path, variable in paths.variables(model).items():
            variable.assign((before[path] + keras.ops.convert_to_numpy(variable)) / 2)


def test_a_method_of_ones_own_trains_a_stage(build, images, labels):
    plainly, halved = build(kt.tasks.Classification(3)), build(kt.tasks.Classification(3))
    halved.set_weights(plainly.get_weights())
    start = weights(plainly)
    train(plainly, images, labels, stage_of(methods.Method()))
    history = train(halved, images, labels, stage_of(Halving()))
    assert history.record["stages"][0]["method"] == {"class": "Halving"}
    found, expected = weights(halved), weights(plainly)
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], (start[path] + value) / 2, atol=1e-6, err_msg=path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora": 4, "regulariser": methods.L2SP()}, "must have one of `method`, `solve`, `lora`"),
        ({"method": "lowrank"}, "`method` must be a known name. Given: 'lowrank'. Close"),
        ({"method": 4}, "`method` must be of kt.training.METHODS. Given: 4"),
        ({"regulariser": 0.01}, "`regulariser` must be of kt.training.METHODS"),
        ({"lora": 0}, "`rank` must be a whole number of at least 1. Given: 0"),
        (
            {"method": "solved_head"},
            "`epochs` must be left out for a method that replaces `fit`. Given: 1 with Solved",
        ),
    ],
)
def test_a_stage_says_what_no_method_is(options, message):
    with pytest.raises(checks.InputError, match=message):
        kt.Stage(epochs=1, **options)
