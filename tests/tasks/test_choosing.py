import numpy as np
import pytest

import keras_transfer as kt

IMAGES = np.zeros((4, 16, 16, 3), "uint8")
BOX = {"boxes": [[1, 1, 5, 5]], "labels": ["cell"]}
LABELS = {
    "classification": (["a", "b"] * 2, {}),
    "regression": (np.arange(8.0).reshape(4, 2) / 3, {}),
    "multi_label": ([["a"], ["b"], [], ["a", "b"]], {}),
    "detection": ([BOX] * 4, {}),
    "segmentation": (np.ones((4, 16, 16), int), {"class_names": ["a", "b"]}),
    "depth": (np.full((4, 16, 16, 1), 0.5), {}),
    "image_to_image": (IMAGES, {}),
}


@pytest.mark.parametrize("kind", LABELS)
def test_each_kind_of_target_has_a_task_that_takes_it(kind):
    labels, options = LABELS[kind]
    data = kt.data.from_arrays(IMAGES, labels, validation=None, **options)
    task = kt.tasks.for_data(data)
    assert task.kind == kind
    task.encode(data.targets["train"])
    if kind == "regression":
        assert task.outputs == 2


def test_several_targets_are_a_dict():
    labels = {"kind": ["a", "b"] * 2, "age": np.arange(4.0) / 2}
    found = kt.tasks.for_data(kt.data.from_arrays(IMAGES, labels, validation=None))
    assert {name: task.kind for name, task in found.items()} == {
        "kind": "classification",
        "age": "regression",
    }


def test_other_data_is_refused():
    with pytest.raises(kt.InputError, match="kt.data"):
        kt.tasks.for_data((IMAGES, [0] * 4))
