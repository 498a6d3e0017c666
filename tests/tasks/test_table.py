"""The contract over every row of the table of tasks."""

import numpy as np
import pytest

from keras_transfer import tasks, testing

EXAMPLES = {
    "classification": (["cat", "dog", "emu"], np.array([0, 2, 1, 2])),
    "regression": (1, np.array([3.0, 60.0, 24.5, 8.0])),
}
OPTIONS = [
    {},
    {"hidden": [8], "dropout": 0.2, "pooling": "max"},
    {"pooling": "concat", "hidden": [8, 4]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "max", "concat"])
@pytest.mark.parametrize("kind", tasks.TASKS)
def test_contract(kind, options):
    first, targets = EXAMPLES[kind]
    testing.check_task(tasks.TASKS[kind](first, **options), targets)


@pytest.mark.parametrize("kind", tasks.TASKS)
def test_kind_is_its_row(kind):
    assert tasks.TASKS[kind](EXAMPLES[kind][0]).kind == kind
