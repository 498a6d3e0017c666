"""The contract over every row of the table of tasks."""

import pytest

from keras_transfer import tasks, testing

OPTIONS = [
    {},
    {"hidden": [8], "dropout": 0.2, "pooling": "max"},
    {"pooling": "concat", "hidden": [8, 4]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "max", "concat"])
@pytest.mark.parametrize("kind", tasks.TASKS)
def test_contract(kind, options):
    testing.check_task(*tasks.TASKS[kind].example(**options))


@pytest.mark.parametrize("kind", tasks.TASKS)
def test_kind_is_its_row(kind):
    assert tasks.TASKS[kind].example()[0].kind == kind
