import pytest

import keras_transfer as kt
from keras_transfer.studies import scores


def test_each_task_is_summed_up_by_its_own_score():
    for kind, task_class in kt.tasks.TASKS.items():
        task, _ = task_class.example()
        chosen = scores.choose(task)
        assert chosen.name == task.score, kind
        assert chosen.higher_is_better == task.higher_is_better, kind


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("acuracy", "Close names: 'accuracy'"),
        ("map", "`metric` must be a score of a classification"),
    ],
)
def test_a_score_that_the_task_lacks_is_one_line(metric, message):
    with pytest.raises(kt.InputError, match=message):
        scores.choose(kt.tasks.Classification(2), metric)


def test_a_score_without_a_better_side_is_refused():
    with pytest.raises(kt.InputError, match="better or worse"):
        scores.choose(kt.tasks.Regression(), "bias")


def test_one_metric_for_several_tasks_is_refused():
    kinds = {"kind": kt.tasks.Classification(2), "age": kt.tasks.Regression()}
    with pytest.raises(kt.InputError, match="`metric` must be a dict by task"):
        scores.by_task(kinds, "accuracy")
    chosen = scores.by_task(kinds, {"kind": "f1"})
    assert (chosen["kind"].name, chosen["age"].name) == ("f1", "mae")


def test_values_read_as_people_say_them():
    error = scores.choose(kt.tasks.Regression())
    assert (error.text(1.23456), error.difference(0.5)) == ("1.235", "0.5 mean absolute error")
    share = scores.choose(kt.tasks.Segmentation(["a", "b"]))
    assert (share.title, share.number(-0.0, signed=True)) == ("mean IoU", "+0.0")
