"""What cannot work is said in one line before anything is trained: weights, flags and optimizer are as they were."""

import json
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.training import methods
from keras_transfer.training.run import state

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 8, 8, 3), dtype="uint8")
LABELS = np.arange(12) % 3


def data(pixels=PIXELS, labels=LABELS, **options):
    return kt.data.from_arrays(
        pixels, labels, **{"validation": 0, "batch_size": 12, "seed": 0, **options}
    )


def build(width=4, task=None):
    """A model that has trained a step already, so its optimizer has something to lose."""
    keras.utils.set_random_seed(0)
    image = x = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1, name="rescaling")(x)
    for number in (1, 2):
        x = keras.layers.Conv2D(width, 3, name=f"block{number}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block{number}_bn")(x)
        x = keras.layers.Activation("relu", name=f"block{number}_relu")(x)
    model = kt.build_model(keras.Model(image, x), task or kt.tasks.Classification(3))
    model.compile("adam", model.loss, metrics=["accuracy"], run_eagerly=True)
    model.get_layer("block2_bn").trainable = False
    model.fit(PIXELS.astype("float32"), LABELS, batch_size=12, verbose=0)
    return model


def snapshot(model):
    """Weights, flags, and the optimizer with its slots."""
    own = {
        path: keras.ops.convert_to_numpy(variable).copy()
        for path, variable in paths.variables(model).items()
    }
    flags = {path: layer.trainable for path, layer in paths.leaves(model).items()}
    slots = [keras.ops.convert_to_numpy(variable).copy() for variable in model.optimizer.variables]
    return own, flags, model.trainable, id(model.optimizer), slots


def check_refused(message, call, *models):
    """`call` raises an error of the house's form, and the models are as they were."""
    before = [snapshot(model) for model in models]
    with pytest.raises(checks.InputError, match=message or None) as refused:
        call()
    assert re.fullmatch(r"[^\n]+\. Given: [^\n]+\.( [A-Z][^\n]+\.)?", str(refused.value)), str(
        refused.value
    )
    for model, (own, flags, trainable, optimizer, slots) in zip(models, before, strict=True):
        now = snapshot(model)
        assert now[1:4] == (flags, trainable, optimizer)
        for path, value in own.items():
            np.testing.assert_array_equal(now[0][path], value, err_msg=path)
        assert len(now[4]) == len(slots)
        for slot, value in zip(now[4], slots, strict=True):
            np.testing.assert_array_equal(slot, value)


@pytest.fixture(scope="module")
def model():
    return build()


HEAD = kt.Stage(epochs=1, train="head")
BAD = {
    "a stage trains an unknown block": (
        {"stages": [HEAD, kt.Stage(epochs=1, train="blok2_conv")]},
        "`train` must match a block or layer. Given: 'blok2_conv'. Close: 'block2_conv'",
    ),
    "a stage trains only an unknown layer": (
        {"stages": [HEAD, kt.Stage(epochs=1, only="blok2_conv")]},
        "`only` must match a block or layer. Given: 'blok2_conv'. Close: 'block2_conv'",
    ),
    "unfreeze": (
        {"unfreeze": "block_3*"},
        "`unfreeze` must match a block or layer. Given: 'block_3\\*'. Close: 'block",
    ),
    "unfreeze of another plan": (
        {"plan": "surgical", "unfreeze": ["block1_conv", "blok2_conv"]},
        "must match a block or layer. Given: 'blok2_conv'. Close: 'block2_conv'",
    ),
    "until": (
        {"plan": "gradual", "unfreeze": "blok2_conv"},
        "must match a block. Given: 'blok2_conv'. Close: 'block2_conv'",
    ),
    "a rate for an unknown layer": (
        {"stages": [HEAD, kt.Stage(epochs=1, learning_rate={"blok2_conv": 1e-4, "head": 1e-3})]},
        "must match a block, layer or variable. Given: 'blok2_conv'. Close: 'block2_conv'",
    ),
    "more blocks than there are": (
        {"stages": [kt.Stage(epochs=1, train=9)]},
        "`train` must be at most the number of blocks, 2. Given: 9",
    ),
    "no weights": (
        {"stages": [HEAD, kt.Stage(epochs=1, only="block2_relu")]},
        "stage 2 must train something. Given: 'block2_relu', which has no weights",
    ),
    "no weights above": (
        {"stages": [kt.Stage(epochs=1, train="classification")]},
        "stage 1 must train something. Given: 'classification', which has no weights",
    ),
    "frozen normalisations only": (
        {"stages": [HEAD, kt.Stage(epochs=1, only="block2_bn")]},
        "stage 2 must train something",
    ),
    "low ranks above the widths": (
        {"stages": [HEAD, kt.Stage(epochs=1, lora=64)]},
        "`lora` must be below the width of some dense or convolution layer that trains. Given: 64",
    ),
    "plan": (
        {"plan": "two_stages"},
        "`plan` must be a known name. Given: 'two_stages'. Close names: 'two_stage'",
    ),
    "plan beside stages": (
        {"plan": "full", "stages": [HEAD]},
        "`plan` must be left out where `stages` is given",
    ),
    "resume without a folder": (
        {"resume": True},
        "`run_dir` must name the folder of the run to resume. Given: None",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_plans_that_do_not_fit_the_model(case, model):
    arguments, message = BAD[case]
    check_refused(message, lambda: kt.fine_tune(model, data(), verbose=0, **arguments), model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"optimizer": "adamm"},
            "`optimizer` must be the name of a Keras optimizer. Given: 'adamm'",
        ),
        (
            {"optimizer": "sgd", "weight_decay": -1},
            "`weight_decay` must be a number at least 0. Given: -1",
        ),
        (
            {"schedule": "cosin"},
            "`schedule` must be one of 'constant', 'cosine', .* Given: 'cosin'",
        ),
        (
            {"batch_norm": "frozen"},
            "`batch_norm` must be one of 'inference', 'train', 'synchronized', 'recalibrate'. Given: 'frozen'",
        ),
        (
            {"early_stopping": {"metric": "loss"}},
            "`early_stopping` must be one of 'monitor', .* Given: 'metric'",
        ),
    ],
)
def test_a_stage_says_itself_what_it_cannot_be(arguments, message):
    check_refused(message, lambda: kt.Stage(epochs=1, **arguments))


def test_a_hidden_head_that_is_solved_for_late():
    hidden = build(task=kt.tasks.Classification(3, hidden=[4]))
    plan = [HEAD, kt.Stage(solve=True, train="head")]
    message = (
        "a head must be one dense layer to be solved. Given: 'classification': it has hidden layers"
    )
    check_refused(message, lambda: kt.fine_tune(hidden, data(), stages=plan, verbose=0), hidden)


def batches_of_one(form):
    images = PIXELS.astype("float32")
    if form == "kt.data":
        return data(batch_size=1)
    return tf.data.Dataset.from_tensor_slices((images, LABELS)).batch(
        1, drop_remainder=form == "of known size"
    )


@pytest.mark.parametrize("form", ["of known size", "of unknown size", "kt.data"])
@pytest.mark.parametrize("batch_norm", ["train", "recalibrate"])
def test_statistics_of_single_examples(form, batch_norm, model):
    message = f"more than one example .*Given: batch size 1 with batch_norm='{batch_norm}'. Raise batch_size"
    plan = [HEAD, kt.Stage(epochs=1, batch_norm=batch_norm)]
    check_refused(
        message, lambda: kt.fine_tune(model, batches_of_one(form), stages=plan, verbose=0), model
    )


def plain_model():
    """A user's own model, without a task that says what its answers are."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization(name="bn")(x))
    mine = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="out")(x))
    mine.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    mine.fit(PIXELS.astype("float32"), LABELS, batch_size=12, verbose=0)
    return mine


def test_statistics_of_single_examples_in_a_model_without_tasks():
    mine = plain_model()
    plan = [kt.Stage(epochs=1, batch_norm="train")]
    message = "more than one example .*Given: batch size 1 with batch_norm='train'"
    call = lambda: kt.fine_tune(mine, batches_of_one("of unknown size"), stages=plan, verbose=0)  # noqa: E731
    check_refused(message, call, mine)


@pytest.mark.filterwarnings(
    "ignore:Your input ran out of data"
)  # Keras says so of all data of unknown length
def test_batches_of_several_examples_are_no_error_where_their_number_is_unknown():
    mine = plain_model()
    dataset = (
        batches_of_one("of known size").unbatch().filter(lambda image, label: label >= 0).batch(6)
    )
    history = kt.fine_tune(
        mine, dataset, stages=[kt.Stage(epochs=1, batch_norm="train")], verbose=0
    )
    assert history.epoch == [0]


# Folders of runs.


PLAN = [HEAD, kt.Stage(epochs=2, train="block2_conv", learning_rate=1e-4)]


def stop(epoch, logs):
    if epoch == 2:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A run of which stage 2 has done one of its two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
    with pytest.raises(KeyboardInterrupt):
        kt.fine_tune(
            build(), data(), stages=PLAN, seed=1, run_dir=folder, callbacks=[callback], verbose=0
        )
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


OTHERS = {
    "model": {"model": lambda: build(width=5)},
    "model of other classes": {"model": lambda: build(task=kt.tasks.Classification(4))},
    "data": {"data": lambda: data(pixels=PIXELS[::-1])},
    "data of other labels": {"data": lambda: data(labels=LABELS[::-1])},
    "data of another order": {"data": lambda: data(seed=2)},
    "data in other batches": {"data": lambda: data(batch_size=6)},
    "arguments": {"stages": [HEAD, kt.Stage(epochs=2, train="block2_conv", learning_rate=2e-4)]},
    "arguments, stages of another length": {
        "stages": [HEAD, kt.Stage(epochs=3, train="block2_conv", learning_rate=1e-4)]
    },
    "seed": {"seed": 2},
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_run_of_something_else(other, interrupted, tmp_path):
    changed = {"model": build, "data": data, "stages": PLAN, "seed": 1, **OTHERS[other]}
    mine, given = changed.pop("model")(), changed.pop("data")()
    folder = shutil.copytree(interrupted, tmp_path / "run")
    before = contents(folder)
    what = other.split()[0].strip(",")
    message = (
        f"a run must be resumed with the same {what}. Given: .*, a run of another. Make model, data"
    )
    check_refused(
        message,
        lambda: kt.fine_tune(mine, given, run_dir=folder, resume=True, verbose=0, **changed),
        mine,
    )
    assert contents(folder) == before


def test_an_interrupted_run_is_not_overwritten(interrupted, model):
    before = contents(interrupted)
    check_refused(
        "`run_dir` must not hold an interrupted run. Given: '.*'. Set `resume=True`.* another folder",
        lambda: kt.fine_tune(model, data(), stages=PLAN, seed=1, run_dir=interrupted, verbose=0),
        model,
    )
    assert contents(interrupted) == before


def test_no_run_to_resume(model, tmp_path):
    message = "`run_dir` must hold a run that was interrupted. Given: '.*'. Leave out `resume`"
    check_refused(
        message,
        lambda: kt.fine_tune(model, data(), run_dir=tmp_path / "new", resume=True, verbose=0),
        model,
    )
    mine = build()
    kt.fine_tune(mine, data(), stages=[HEAD], run_dir=tmp_path, verbose=0)

    def call():
        kt.fine_tune(mine, data(), stages=[HEAD], run_dir=tmp_path, resume=True, verbose=0)

    check_refused("whose run has finished. Leave out `resume`", call, mine)


def test_two_runs_of_one_process_in_one_folder(tmp_path, model):
    def second(epoch, logs):
        check_refused(
            "`run_dir` must not be in use. Given: '.*'. Another run writes there",
            lambda: kt.fine_tune(model, data(), stages=PLAN, run_dir=tmp_path, verbose=0),
            model,
        )
        seen.append(epoch)

    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=second)
    kt.fine_tune(build(), data(), stages=[HEAD], run_dir=tmp_path, callbacks=[callback], verbose=0)
    assert seen == [0]
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "finished"


HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_that_another_process_holds(interrupted, model):
    """The lock is let go of when the other process is killed: a file that is left behind holds nothing."""
    pytest.importorskip("fcntl")
    command = [sys.executable, "-c", HOLDER, str(interrupted / state.LOCK)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        before = contents(interrupted)
        for resume in (True, False):
            check_refused(
                "`run_dir` must not be in use",
                lambda again=resume: kt.fine_tune(
                    model, data(), stages=PLAN, seed=1, run_dir=interrupted, resume=again, verbose=0
                ),
                model,
            )
        assert contents(interrupted) == before
        other.kill()
    with state.lock(interrupted):
        pass


def test_a_regulariser_that_cannot_be_attached():
    """It is told before the first stage, not when its own begins."""

    class Own(keras.Model):
        def train_step(self, batch):
            return super().train_step(batch)

    plain = build()
    own = Own(plain.input, plain.output)
    own.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    own.fit(PIXELS.astype("float32"), LABELS, batch_size=12, verbose=0)
    plan = [HEAD, kt.Stage(epochs=1, regulariser=methods.L2SP())]
    call = lambda: kt.fine_tune(own, data(), stages=plan, verbose=0)  # noqa: E731
    check_refused("`model` must train with Keras's own training step", call, own)


@pytest.mark.parametrize(
    "arguments", [{"plan": "lp_ft", "epochs": 1}, {"stages": [HEAD, kt.Stage(solve=True)]}]
)
def test_a_head_that_cannot_be_solved_for(arguments):
    mine = plain_model()
    dataset = tf.data.Dataset.from_tensor_slices((PIXELS.astype("float32"), LABELS)).batch(12)
    check_refused("", lambda: kt.fine_tune(mine, dataset, verbose=0, **arguments), mine)
