import functools

import keras
import pytest

import keras_transfer as kt
from keras_transfer.studies import arms


def train(data, seed):
    return 0.5


def test_names_say_what_is_trained():
    made = arms.make(
        ["scratch", "probe", "two_stage", "uncertainty", "cross_stitch", "MobileNetV2", train]
    )
    assert list(made)[-1] == "train"
    assert made["scratch"].is_random
    assert made["scratch"].options["batch_norm"] == "train"
    assert made["probe"].is_probe
    assert made["two_stage"].options == {"plan": "two_stage"}
    assert made["uncertainty"].scheme == {"balancing": "uncertainty"}
    assert made["cross_stitch"].scheme == {"sharing": "cross_stitch"}
    assert made["MobileNetV2"].source == "MobileNetV2"
    assert made["train"].function is train


def test_a_dict_starts_from_an_arm_and_changes_it():
    long = {"arm": "scratch", "epochs": 9, "backbone": "tiny"}
    made = arms.make({"long": long, "random": {"plan": "full", "weights": None}})
    assert made["long"].is_random
    assert made["long"].source == "tiny"
    assert made["long"].options == {**arms.NAMED["scratch"].options, "epochs": 9}
    assert made["random"].is_random


MODEL = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="net")
WRONG = [
    ([lambda data, seed: 1.0], "an arm must have a name. Given: a lambda"),
    ([functools.partial(train, seed=0)], "an arm must have a name. Given: a partial"),
    ([{"plan": "full"}], "an arm must have a name. Given: a dict"),
    ({"": "probe"}, "an arm must have a name"),
    ([], "`arms` must hold an arm"),
    (["probe", "probe"], "different names. Given: 'probe' twice"),
    ([MODEL, MODEL], "different names. Given: 'net' twice"),
    (["two_stages"], "Close names: 'two_stage'"),
    (["surgical"], "needs `unfreeze`"),
    ({"a": 3}, "an arm must be a name, a backbone"),
    ({"a": {"epoch": 3}}, "arguments of arm 'a' must be known. Given: 'epoch'. Close names: 'epochs'"),
    ({"a": {"seed": 3}}, "must be known. Given: 'seed'"),
    ({"a": {"weights": "imagenet"}}, "`weights` of an arm must be None"),
    ({"a": {"arm": "probe", "epochs": 3}}, "a probe has no arguments of training. Given: epochs"),
    ({"a": lambda data: 1.0}, "arm 'a' must be a function of data and seed"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_what_is_no_arm_is_one_line(given, message):
    with pytest.raises(kt.InputError) as caught:
        arms.make(given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
