"""The contract over every row of the table of tasks."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transfer import losses, tasks, testing

OPTIONS = [
    {},
    {"hidden": [8], "dropout": 0.2, "pooling": "max"},
    {"pooling": "concat", "hidden": [8, 4]},
]


# A head on the maps of several levels has no hidden layers and no pooling.
CASES = [
    (kind, options)
    for kind, task in tasks.TASKS.items()
    for options in (OPTIONS[:1] if task.levels else OPTIONS)
]


@pytest.mark.parametrize(
    ("kind", "options"), CASES, ids=["-".join([kind, *options]) for kind, options in CASES]
)
def test_contract(kind, options):
    testing.check_task(*tasks.TASKS[kind].example(**options))


@pytest.mark.parametrize("kind", tasks.TASKS)
def test_kind_is_its_row(kind):
    assert tasks.TASKS[kind].example()[0].kind == kind


@keras.saving.register_keras_serializable("tests")
class Swapped(tasks.Classification):
    """Encodes each class as the next one."""

    def encode(self, targets):
        return (super().encode(targets) + 1) % self.units


@keras.saving.register_keras_serializable("tests")
class Uphill(losses.Crossentropy):
    """Has the value of the cross-entropy and its gradient reversed."""

    def call(self, y_true, y_pred):
        value = super().call(y_true, y_pred)
        return 2 * ops.stop_gradient(value) - value


@pytest.mark.parametrize(
    ("task", "check"),
    [
        (Swapped(["cat", "dog", "emu"]), "encoded_targets_cost_what_targets_cost"),
        (tasks.Classification(["cat", "dog", "emu"], loss=Uphill()), "training_lowers_the_loss"),
    ],
)
def test_the_check_finds_a_fault(task, check):
    with pytest.raises(AssertionError, match=check):
        testing.check_task(task, np.array([0, 2, 1, 2]))
