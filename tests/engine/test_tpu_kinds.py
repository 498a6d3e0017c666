"""The training step of every kind of task, with every way to balance, is compiled by the TPU's compiler."""

import itertools

import networks
import numpy as np
import pytest

import keras_transfer as kt

pytest.importorskip("libtpu", reason="the TPU compiler is not installed: extra jax-tpu")

pytestmark = pytest.mark.engine
CLASSES = ["a", "b", "c"]
TASKS = {
    "category": lambda: kt.tasks.Classification(CLASSES, dropout=0.2, hidden=[8]),
    "number": kt.tasks.Regression,
    "tags": lambda: kt.tasks.MultiLabel(CLASSES),
    "boxes": lambda: kt.tasks.Detection(CLASSES, width=8, depth=1),
    "mask": lambda: kt.tasks.Segmentation(CLASSES, width=8),
    "depth": lambda: kt.tasks.Depth(width=8),
    "picture": lambda: kt.tasks.ImageToImage(width=8),
    "sharp_picture": lambda: kt.tasks.ImageToImage(width=8, loss="l1"),  # SSIM compiles for long
}
ROWS = 32


def labels(kind):
    rows = range(ROWS)
    random = np.random.default_rng(0)
    boxes = {"boxes": [[2, 2, 20, 20]], "labels": ["a"], "ignored": [False]}
    return {
        "category": [None if row == 0 else CLASSES[row % 3] for row in rows],
        "number": [float(row) for row in rows],
        "tags": [[CLASSES[row % 3]] for row in rows],
        "boxes": [boxes for _ in rows],
        "mask": random.integers(0, 3, (ROWS, 32, 32)).astype(np.uint8),
        "depth": random.uniform(1, 2, (ROWS, 32, 32, 1)).astype(np.float32),
        "picture": random.integers(0, 256, (ROWS, 32, 32, 3)).astype(np.uint8),
    }[kind.removeprefix("sharp_")]


def check(kinds, balancing, topology="v5e-4"):
    names = {kind: CLASSES for kind in kinds if kind in ("category", "tags", "boxes", "mask")}
    words = {
        "depth": "image",
        "picture": "image",
        "sharp_picture": "image",
        "mask": "mask",
        "boxes": "boxes",
    }
    images = np.zeros((ROWS, 32, 32, 3), np.uint8)
    data = kt.data.from_arrays(
        images,
        {kind: labels(kind) for kind in kinds},
        class_names=names,
        targets={kind: words[kind] for kind in kinds if kind in words},
        validation=None,
    )
    options = {"balancing": balancing, "balance_on": "weights"} if balancing else {}
    tasks = {kind: TASKS[kind]() for kind in kinds}
    model = kt.build_model(networks.small(weights=None), tasks, **options)
    return kt.check_tpu(model, data, topology=topology)


PAIRS = [("category", "number"), ("tags", "boxes"), ("mask", "depth")]


@pytest.mark.parametrize(
    ("kinds", "balancing"),
    [
        *itertools.product(PAIRS, [None, "uncertainty", "pcgrad"]),
        pytest.param(("picture", "number"), None, marks=pytest.mark.slow),
        (("sharp_picture", "number"), "uncertainty"),
        (("sharp_picture", "number"), "pcgrad"),
    ],
)
def test_every_kind_of_task_trains_on_chips_with_every_balancer(kinds, balancing):
    found = check(kinds, balancing)
    assert found.problems == ()
    assert found.is_fine
    assert found.all_reduces >= 1


def test_one_chip_has_nobody_to_sum_with():
    found = check(("category", "number"), "uncertainty", topology="v5e-1")
    assert found.is_fine
    assert (found.chips, found.all_reduces, found.exchanged) == (1, 0, 0)
