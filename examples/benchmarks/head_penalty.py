"""Which images should choose the penalty of a solved head: a fifth kept for validation, or folds of the others as well?

    python examples/benchmarks/head_penalty.py DATA

DATA as for `default_recipe.py`. The features of a frozen MobileNetV2 at 160 pixels are computed once a set. For each
seed the penalty is chosen on a split of the training images, by `kt.training.solve_head` with the validation part alone
and with five folds besides; a head with that penalty is solved on all training images, as in the second run of
`kt.fine_tune`.

Log loss and accuracy on the test images, mean over the seeds. Claim: folds give a lower log loss on average over the
sets. One JSON line; three minutes on one core with the smaller network.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import tempfile

import default_recipe
import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import keras_transfer as kt

SETS = ("caltech24", "alpaca2", "pets3", "cifar10_small")
WAYS = {"validation": None, "folds": 5}


def pooled(trunk, images):
    """Returns the mean of the last maps (images, features)."""
    return trunk.predict(images / 127.5 - 1, batch_size=64, verbose=0).mean(axis=(1, 2))


def read(root, name, width, size):
    """Returns features and classes of the training images, and of the test images."""
    with tempfile.TemporaryDirectory() as scratch:
        parts = default_recipe.folders(root, name, pathlib.Path(scratch))
        train, test = (default_recipe.pixels(part, size) for part in parts)
    trunk = default_recipe.network(root, width, size)
    return (pooled(trunk, train[0]), train[1]), (pooled(trunk, test[0]), test[1])


def choose(model, train, folds, seed):
    """Returns the penalty that a split of the training images chooses."""
    fit, held_out = train_test_split(
        np.arange(len(train[1])), test_size=0.2, stratify=train[1], random_state=seed
    )
    facts = kt.training.solve_head(
        model,
        train[0][fit],
        train[1][fit],
        train[0][held_out],
        train[1][held_out],
        folds=folds,
        seed=seed,
    )
    return facts["strength"]


def measure(model, train, test, strength):
    """Returns log loss and accuracy on the test images of the head with a penalty, solved on all training images."""
    kt.training.solve_head(model, *train, strengths=[strength])
    kernel, bias = model.get_weights()[-2:]
    answers = keras.ops.convert_to_numpy(keras.ops.softmax(test[0] @ kernel + bias))
    return log_loss(test[1], answers), float((answers.argmax(axis=1) == test[1]).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path, help="folder with weights and image sets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=160, help="of images")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--network", default="0.35", choices=default_recipe.NETWORKS)
    asked = parser.parse_args()

    rows = {way: [] for way in WAYS}
    for name in asked.sets:
        train, test = read(asked.data, name, asked.network, asked.size)
        weights = str(asked.data / "weights" / default_recipe.NETWORKS[asked.network])
        backbone = kt.backbone(
            "MobileNetV2", weights=weights, image_size=asked.size, alpha=float(asked.network)
        )
        model = kt.build_model(backbone, kt.tasks.Classification(int(train[1].max()) + 1))
        for way, folds in WAYS.items():
            chosen = [choose(model, train, folds, seed) for seed in range(asked.seeds)]
            measured = [measure(model, train, test, strength) for strength in chosen]
            loss, accuracy = (statistics.mean(values) for values in zip(*measured, strict=True))
            rows[way].append((loss, accuracy))
            strengths = ", ".join(f"{each:.2g}" for each in chosen)
            print(f"{name:16}{way:12}{loss:.3f}  {accuracy:.1%}  {strengths}", flush=True)

    means = {
        way: [round(statistics.mean(values), 4) for values in zip(*measured, strict=True)]
        for way, measured in rows.items()
    }
    result = {"benchmark": "head_penalty", "network": asked.network, "seeds": asked.seeds}
    result |= {"log_loss_and_accuracy": means}
    result |= {"claim_holds": means["folds"][0] < means["validation"][0]}
    result |= {"versions": {"keras": keras.__version__, "tensorflow": tf.__version__}}
    result |= {"device": f"{platform.machine()}, {os.cpu_count()} cores"}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
