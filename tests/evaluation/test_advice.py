import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.evaluation import advice

TASK = kt.tasks.Classification(["cat", "dog"])
STAGES = [
    {"name": "head", "epochs": [0, 1], "train": "head"},
    {"name": "all", "epochs": [2, 3], "train": "all", "frozen_parameters": 0},
]


def scores(matrix, names=("cat", "dog")):
    """The scores of answers that are 80 % sure, from a confusion matrix."""
    counts = np.array(matrix)
    size = len(names)
    pairs = [(true, said) for (true, said), count in np.ndenumerate(counts) for _ in range(count)]
    targets, said = np.array(pairs).T
    rows = np.full((len(said), size), 0.2 / (size - 1))
    rows[np.arange(len(said)), said] = 0.8
    task = kt.tasks.Classification(names)
    values = task.measure(targets, rows)
    return {**values, "baseline": task.baseline(targets, rows)}


def about(training, validation, best=3, **record):
    history = {"accuracy": training, "val_accuracy": validation}
    return {
        "history": history,
        "epochs": list(range(len(training))),
        "training": {"stages": STAGES, "best_epoch": best, **record},
    }


def test_the_first_sentence_has_share_interval_and_chance():
    values = scores([[90, 10], [10, 90]])
    first, *more = advice.summarise([("", TASK, values)], {})["answer"]
    low, high = values["intervals"]["accuracy"]
    interval = f"(95 %: {100 * low:.0f} to {100 * high:.0f} %)"
    assert first == (
        f"90.0 % of 200 images are answered right {interval}; always answering 'cat' would be right for 50.0 %."
    )
    assert more == []


def test_what_training_beyond_the_head_gained_is_that_of_validation():
    values = scores([[90, 10], [10, 90]])
    facts = about([0.5, 0.75, 0.8, 0.9], [0.5, 0.75, 0.8, 0.85])
    assert advice.summarise([("", TASK, values)], facts)["answer"][1] == (
        "Training beyond the head raised validation accuracy from 0.750 to 0.850."
    )
    several = about([0.5, 0.75, 0.8, 0.9], [0.5, 0.75, 0.8, 0.85])
    several["history"] = {f"val_{name}": [0.8, 0.8, 0.8, 0.6] for name in ("x_accuracy", "loss")}
    assert advice.summarise([("x", TASK, values)], several)["answer"][1] == (
        "x: Training beyond the head lowered validation accuracy from 0.800 to 0.600."
    )


@pytest.mark.parametrize(
    ("training", "validation", "best", "record", "begins"),
    [
        ([0.5, 0.6, 0.9, 0.99], [0.5, 0.6, 0.7, 0.6], 2, {}, "The model knows its training"),
        ([0.5, 0.5, 0.6, 0.6], [0.5, 0.5, 0.62, 0.6], 2, {}, "The model does not fit"),
        ([0.5, 0.6, 0.9, 0.95], [0.5, 0.6, 0.9, 0.95], 3, {}, "The last epoch was the best"),
    ],
    ids=["memorised", "too simple", "too short"],
)
def test_curves_say_what_to_do_next(training, validation, best, record, begins):
    values = scores([[90, 10], [10, 90]])
    facts = about(training, validation, best, **record)
    further = advice.summarise([("", TASK, values)], facts)["next"]
    assert [sentence.startswith(begins) for sentence in further] == [True]


def test_a_rate_that_falls_to_its_end_makes_the_last_epoch_no_reason_to_go_on():
    values = scores([[90, 10], [10, 90]])
    facts = about([0.5, 0.6, 0.9, 0.95], [0.5, 0.6, 0.9, 0.95])
    facts["training"]["stages"] = [STAGES[0], {**STAGES[1], "schedule": "cosine"}]
    assert advice.summarise([("", TASK, values)], facts)["next"] == []


def test_weak_classes_are_named_with_how_many_images_they_had():
    names = ["cat", "dog", "owl"]
    values = scores([[100, 0, 0], [0, 100, 0], [0, 60, 40]], names)
    labels = {"": {"splits": ["train", "test"], "rows": [["cat", 50, 100], ["owl", 7, 100]]}}
    facts = {"training": {"labels": labels}}
    task = kt.tasks.Classification(names)
    further = advice.summarise([("", task, values)], facts)["next"]
    assert further[0] == (
        "More photos of owl (right for 40 % of 100 images; 7 to learn from) would help most."
    )
    assert further[1].startswith("owl is taken for dog in 60 % of its images")


def test_no_class_is_blamed_where_nothing_was_learned():
    values = scores([[8, 22], [7, 31]])
    assert not values["baseline"]["is_beaten"]
    further = advice.summarise([("", TASK, values)], {})["next"]
    assert not any("More photos" in sentence for sentence in further)
    assert any(sentence.startswith("68 images are few") for sentence in further)


def test_sure_mistakes_may_be_wrong_labels():
    values = scores([[90, 10], [10, 90]]) | {"mistakes": [{"score": 0.99}, {"score": 0.5}]}
    further = advice.summarise([("", TASK, values)], {})["next"]
    assert further[0].startswith("The label of 1 image may be wrong")
    wide = {"mae": 40.0, "support": 4, "intervals": {"mae": [20.0, 60.0]}}
    assert advice.summarise([("", kt.tasks.Regression(), wide)], {})["next"] == []
    large = {"mae": 40.0, "support": 4, "mistakes": [{"score": 0.99}]}
    assert advice.summarise([("", kt.tasks.Regression(), large)], {})["next"] == []
