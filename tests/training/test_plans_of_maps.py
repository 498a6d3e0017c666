"""The plan of models with heads on maps: steps, not epochs."""

import keras_transfer as kt
from keras_transfer.training import plans


def make(task, **options):
    model = kt.build_model(kt.backbone("tiny", weights=None), task)
    return plans.make("two_stage", model, plans.Request(**options))


def test_small_sets_get_steps_and_large_ones_few_epochs():
    task = kt.tasks.Detection(2, width=8)
    head, upper = make(task, examples=208, batches=26)
    assert (head.epochs, upper.epochs) == (4, 10)
    assert (head.train, upper.train) == ("head", "block1")
    assert upper.is_falling
    head, upper = make({"a": kt.tasks.Regression(), "b": task}, examples=50_000, batches=1_563)
    assert (head.epochs, upper.epochs) == (2, 6)


def test_what_the_user_asks_for_stays():
    task = kt.tasks.Segmentation(2, width=8)
    head, upper = make(task, examples=80, batches=10, epochs=(1, 2), unfreeze="block4")
    assert (head.epochs, upper.epochs, upper.train) == (1, 2, "block4")
    head, upper = make(task, examples=80, batches=10, learning_rate=(1e-2, 1e-3))
    assert (head.learning_rate, upper.learning_rate) == (1e-2, 1e-3)
