"""Reports of made-up answers, for tests of pages."""

import math

import numpy as np

import keras_transfer as kt
from keras_transfer.evaluation import answers

EVIL = "<script>alert(1)</script>"
NAMES = ["cat", EVIL, "$x$ & \"dog\" 'owl'", "猫"]
RECORD = {
    "stages": [
        {
            "name": "head",
            "epochs": [0, 1],
            "train": "head",
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "batch_norm": "inference",
            "trainable_parameters": 1290,
            "frozen_parameters": 300_000,
            "trained_layers": ["logits"],
            "frozen_layers": ["conv_1", EVIL],
            "seconds": 2.5,
        },
        {
            "name": "block_2",
            "epochs": [2, 2],
            "train": "block_2",
            "learning_rate": {"schedule": "CosineDecay", "decay_steps": 200},
            "rate_in_words": "cosine from 0.003 over 200 steps",
            "seconds": 4.0,
        },
    ],
    "best_epoch": 1,
    "monitor": "val_loss",
    "notes": [f"skipped {EVIL}.jpg"],
    "arguments": {"unfreeze": "block_2"},
    "versions": {"keras": "3.15"},
    "seed": 0,
}
ABOUT = {
    "model": {"name": EVIL, "backbone": "tiny", "parameters": 301_290},
    "data": {"split": "test", "examples": 80, "digest": "0123abcd"},
    "speed": {"images_per_second": 123.4, "seconds": 1.0},
    "history": {
        "loss": [3.0, 2.0, math.nan],
        "val_loss": [3.0, 2.5, 2.75],
        "accuracy": [0.1, 0.5, 0.75],
    },
    "epochs": [0, 1, 2],
    "training": RECORD,
    "notes": ["measured once"],
    "versions": {"numpy": "2"},
    "created": "2026-01-02T03:04:05+00:00",
}


def classification(names=NAMES, examples=80, size=8, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, len(names), examples)
    said = np.where(rng.random(examples) < 0.7, targets, (targets + 1) % len(names))
    rows = rng.dirichlet(np.ones(len(names)), examples) + np.eye(len(names))[said]
    column = answers.Answers("x", kt.tasks.Classification(names))
    column.add(0, rng.integers(0, 256, (examples, size, size, 3)), targets, rows / 2)
    return column.result([f"{EVIL}{i}.jpg" for i in range(examples)])


def regression(outputs=1, examples=50, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(examples, outputs))
    column = answers.Answers("x", kt.tasks.Regression(outputs, unit="years"))
    column.add(
        0,
        rng.integers(0, 256, (examples, 8, 8, 3)),
        targets,
        targets + rng.normal(size=targets.shape),
    )
    return column.result()


def tags(examples=40, seed=0):
    """Three tags, any number an image."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, (examples, 3)).astype("float32")
    column = answers.Answers("x", kt.tasks.MultiLabel(["red", "round", "large"]))
    pictures = rng.integers(0, 256, (examples, 32, 32, 3))
    column.add(0, pictures, targets, rng.random((examples, 3)))
    return column.result()
