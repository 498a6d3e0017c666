"""Labels that look wrong."""

import json

import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.studies.doctor import labels

WEIGHTS = "weights/mobilenet_v2_1.0_224_no_top_from_int8.h5"


def flipped(ids, share, seed):
    """Gives a share of the labels another class, drawn at random; returns them and where."""
    rng = np.random.default_rng(seed)
    classes = int(ids.max()) + 1
    rows = rng.choice(len(ids), round(share * len(ids)), replace=False)
    given = ids.copy()
    given[rows] = (ids[rows] + rng.integers(1, classes, len(rows))) % classes
    return given, set(rows.tolist())


def test_flipped_labels_of_clear_classes_are_all_found():
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(5), 40)
    values = np.eye(5)[ids] * 6 + rng.normal(0, 0.7, (200, 5))
    given, wrong = flipped(ids, 0.05, 1)
    shares = labels.probabilities(values, given)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    found, likely = labels.suspects(shares, given)
    assert set(found.tolist()) == wrong
    np.testing.assert_array_equal(likely[found], ids[found])
    clean = labels.probabilities(values, ids)
    assert len(labels.suspects(clean, ids)[0]) == 0


def test_classes_that_overlap_are_no_wrong_labels():
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(2), 100)
    values = ids[:, None] * 0.5 + rng.normal(0, 1, (200, 3))
    assert len(labels.suspects(labels.probabilities(values, ids), ids)[0]) <= 2


def test_an_image_is_judged_by_others_only():
    """A row that is far away from all others tells its class by heart, unless it is held out."""
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(2), 30)
    values = np.concatenate(
        [ids[:, None] * 8 + rng.normal(0, 1, (60, 1)), np.zeros((60, 1))], axis=1
    )
    ids[3], values[3] = 1, [0.0, 100.0]
    assert labels.probabilities(values, ids)[3, 1] < 0.5


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.compiled
def test_flipped_labels_of_real_photos(real_data, tmp_path):
    """Precision at least 0.7 at recall at least 0.6, in the mean of two draws."""
    folder = real_data / "caltech24"
    size = 128
    data = kt.data.from_folder(folder / "train", image_size=size, validation=None, cache="off")
    trunk = kt.backbone("MobileNetV2", weights=real_data / WEIGHTS, image_size=size)
    scores = []
    for seed in range(2):
        given, wrong = flipped(data.targets["train"], 0.05, seed)
        made = kt.data.from_arrays(
            kt.data.load_images(data.files["train"], size),
            given,
            class_names=data.class_names,
            validation=None,
        )
        (finding,) = kt.doctor(trunk, made, check=["labels"])
        right = len(wrong & set(finding.rows))
        scores.append([right / finding.count, right / len(wrong)])
    precision, recall = np.mean(scores, axis=0)
    print(json.dumps({"precision": precision, "recall": recall, "draws": scores}))
    assert precision >= 0.7
    assert recall >= 0.6
