"""Answers as JSON: probabilities, numbers or boxes."""

import keras_transfer as kt
from keras_transfer.cli import predict


def test_boxes_and_numbers_go_into_json():
    rows = [
        {
            "file": "a.jpg",
            "boxes": {
                "label": "1 cat",
                "boxes": [[0, 1, 2, 3]],
                "labels": ["cat"],
                "scores": [0.9],
            },
            "depth": {"label": "near", "value": [1.0, 2.0], "depth": object()},
        }
    ]
    predictions = kt.evaluation.Predictions(rows, tasks=["boxes", "depth"])
    assert predict._answers(predictions, rows[0]) == {
        "boxes": {"boxes": [[0, 1, 2, 3]], "labels": ["cat"], "scores": [0.9]},
        "depth": [1.0, 2.0],
    }
