"""Is `kt.fine_tune(model, data)`, with nothing tuned, better than what people do by hand?

    python examples/benchmarks/default_recipe.py DATA

DATA holds `weights/` (two files of MobileNetV2, of widths 0.35 and 1.0) and the image sets `caltech24`, `alpaca2`,
`pets3` (breeds), `cifar10_small`, and photos and paintings of `pacs_small`, with a training and a test part each.
Ways to a classifier at 160 pixels:

* default: `kt.fine_tune(model, data)`, which splits off its own validation images;
* thorough: the same for 200 steps of all layers with flips, crops, other colours and smoothed labels, then once more on
  training and validation images together, without corrected confidences;
* keras: Adam 1e-3 on the head for 10 epochs, then Adam 1e-5 on the layers from number 100 for 10 more, random flips
  and rotations (the two-stage script of the Keras guides), on all training images;
* regression: logistic regression on the frozen features, its strength chosen on a fifth of the training images, then
  fitted on all of them;
* scratch: the whole network from random weights for 20 epochs, with a batch-norm momentum of 0.9 (with Keras
  Applications' 0.999 the statistics would still be those of the first steps), otherwise as the third; only with
  `--arms`.

Accuracy and calibration error (ECE) on the test images and the time from decoded images to a trained model, by the
clock and of the processors (which other work on the machine hardly changes), mean over the seeds. Claims: the default
is within 0.3 points of the thorough way or better, its calibration error is at most 0.06 and its time at most that of
the script, each on average; and against the best of script, regression and scratch it is 1.5 points ahead on average,
and at most 0.5 behind for each set and network. A finished measurement is a line of JSON on standard
error, and in `--rows FILE`, from where it is not measured again: the script may be stopped and started again, and
`--minutes` stops it before the next one. The table and one JSON line go to standard output.
"""

import argparse
import csv
import itertools
import json
import math
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import keras_transfer as kt

# After a slash: the domain, where a set has several.
SETS = (
    "caltech24",
    "alpaca2",
    "pets3",
    "cifar10_small",
    "pacs_small/photo",
    "pacs_small/art_painting",
)
ARMS = ("default", "thorough", "keras", "regression")
BASELINES = ("keras", "regression", "scratch")
KEYS = ("set", "network", "size", "arm", "seed")  # of a row
BARS = {
    "accuracy": 0.003,
    "ece": 0.06,
    "time": 1.0,
    "ahead": 0.015,
    "behind": 0.005,
}  # see the claims
MOMENTUM = 0.9  # of batch normalisation, from random weights
NETWORKS = {
    "0.35": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
    "1.0": "mobilenet_v2_1.0_224_no_top_from_int8.h5",
}


def folders(root, name, scratch):
    """Returns the training and the test folder of a set, one subfolder a class."""
    base, _, domain = name.partition("/")
    if (root / base / "train").is_dir():
        return root / base / "train", root / base / "test"
    with (root / base / "index.csv").open() as opened:  # pets3 and pacs_small have a list instead
        rows = list(csv.DictReader(opened))
    for row in rows:
        if domain and row["domain"] != domain:
            continue
        file = row.get("file") or f"images/{row['id']}.jpg"
        label = row.get("class", row.get("breed"))
        link = scratch / name / row["split"] / label / file.replace("/", "-")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((root / base / file).resolve())
    return scratch / name / "train", scratch / name / "test"


def pixels(folder, size):
    """Returns images and class ids."""
    files = sorted(folder.glob("*/*.jpg"))
    names = sorted({file.parent.name for file in files})
    return kt.data.load_images(files, size).astype("float32"), np.array(
        [names.index(f.parent.name) for f in files]
    )


def network(root, width, size, *, pretrained=True):
    weights = str(root / "weights" / NETWORKS[width]) if pretrained else None
    trunk = keras.applications.MobileNetV2(
        (size, size, 3), alpha=float(width), include_top=False, weights=weights
    )
    for layer in trunk.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and not pretrained:
            layer.momentum = MOMENTUM
    return trunk


def keras_script(root, width, train, test, *, pretrained=True):
    size, classes = train[0].shape[1], int(train[1].max()) + 1
    base = network(root, width, size, pretrained=pretrained)
    base.trainable = not pretrained
    inputs = keras.Input((size, size, 3))
    x = keras.layers.RandomRotation(0.1)(keras.layers.RandomFlip("horizontal")(inputs))
    x = base(
        keras.layers.Rescaling(1 / 127.5, -1)(x), **({"training": False} if pretrained else {})
    )
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))
    batches = tf.data.Dataset.from_tensor_slices(train).shuffle(len(train[1])).batch(32).prefetch(2)

    def fit(rate, epochs):
        model.compile(
            keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", jit_compile=False
        )
        model.fit(batches, epochs=epochs, shuffle=False, verbose=0)

    if pretrained:
        fit(1e-3, 10)
        base.trainable = True
        for layer in base.layers[:100]:
            layer.trainable = False
        fit(1e-5, 10)
    else:
        fit(1e-3, 20)
    return lambda: model.predict(test[0], verbose=0)


def regression(root, width, train, test, *, seed):
    trunk = network(root, width, train[0].shape[1])
    features = [
        trunk.predict(x / 127.5 - 1, batch_size=64, verbose=0).mean(axis=(1, 2))
        for x, _ in (train, test)
    ]
    fit_on, choose_on = train_test_split(
        np.arange(len(train[1])), test_size=0.2, stratify=train[1], random_state=seed
    )

    def fitted(strength, rows):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        return model.fit(features[0][rows], train[1][rows])

    strengths = 10.0 ** np.arange(-4, 2.1, 0.5)
    scores = [
        fitted(each, fit_on).score(features[0][choose_on], train[1][choose_on])
        for each in strengths
    ]
    best = fitted(strengths[int(np.argmax(scores))], np.arange(len(train[1])))
    return lambda: best.predict_proba(features[1])


def ours(root, width, data, test, *, seed, is_thorough):
    weights = str(root / "weights" / NETWORKS[width])
    backbone = kt.backbone(
        "MobileNetV2", weights=weights, image_size=test[0].shape[1], alpha=float(width)
    )
    model = kt.build_model(backbone, kt.tasks.Classification(data.class_names), seed=seed)
    options = {}
    if is_thorough:
        epochs = min(50, max(4, math.ceil(200 / len(data.train))))
        everything = kt.Stage(epochs=epochs, learning_rate=3e-4, schedule="cosine", warmup=0.1)
        changes = kt.data.Augment(flip=True, crop=0.8, colour=0.1, label_smoothing=0.1)
        options = {"stages": [kt.Stage(solve=True, train="head"), everything], "augment": changes}
        options |= {"refit": True, "calibrate": False}
    kt.fine_tune(model, data, seed=seed, verbose=0, **options)
    return lambda: model.predict(test[0], verbose=0)


def measure(root, name, width, size, arm, seed, scratch):
    """Trains one arm; returns its accuracy, calibration error, and time without decoding and testing."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    folder, test_folder = folders(root, name, scratch)
    train, test = pixels(folder, size), pixels(test_folder, size)
    # As the script gets decoded images, so does the package.
    data = kt.data.from_arrays(train[0].astype("uint8"), train[1], seed=seed)
    wall, cpu = time.perf_counter(), time.process_time()

    if arm in ("default", "thorough"):
        predict = ours(root, width, data, test, seed=seed, is_thorough=arm == "thorough")
    elif arm == "regression":
        predict = regression(root, width, train, test, seed=seed)
    else:
        predict = keras_script(root, width, train, test, pretrained=arm == "keras")
    times = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    names = [str(each) for each in range(int(test[1].max()) + 1)]
    scores = kt.metrics.classification_scores(test[1], predict(), names)
    return {
        "accuracy": scores["accuracy"],
        "ece": scores["ece"],
        **{key: round(value, 1) for key, value in times.items()},
    }


def read_rows(asked):
    """Returns the finished measurements by set, network, size, arm and seed."""
    file = asked.rows and pathlib.Path(asked.rows)
    if not file or not file.is_file():
        return {}
    lines = map(json.loads, file.read_text().splitlines())
    return {tuple(row[key] for key in KEYS): row for row in lines}


def rows(asked):
    """Returns all measurements that are asked for, as far as they were made in time."""
    finished, result = read_rows(asked), []
    deadline = time.monotonic() + 60 * asked.minutes
    order = itertools.product(range(asked.seeds), asked.sets, asked.networks, asked.arms)
    with tempfile.TemporaryDirectory() as scratch:
        for seed, name, width, arm in order:
            key = name, width, asked.size, arm, seed
            if key in finished:
                result.append(finished[key])
            elif time.monotonic() < deadline:
                place = pathlib.Path(scratch) / f"{width}-{arm}-{seed}"
                measured = measure(pathlib.Path(asked.data), *key, place)
                row = dict(zip(KEYS, key, strict=True)) | measured
                print(json.dumps(row), file=sys.stderr, flush=True)
                if asked.rows:
                    with pathlib.Path(asked.rows).open("a") as file:
                        file.write(json.dumps(row) + "\n")
                result.append(row)
    return result


def mean(found, key, **wanted):
    """Returns the mean of a number over the measurements that fit, None where there are none."""
    values = [
        row[key] for row in found if all(row[name] == value for name, value in wanted.items())
    ]
    return statistics.mean(values) if values else None


def table(found, arms):
    """Returns lines of set, network, and of each arm accuracy, calibration error and both times; the means below."""
    lines = ["".join([f"{'':24}", *(f"{arm:>33}" for arm in arms)])]
    cells = list(dict.fromkeys((row["set"], row["network"]) for row in found))
    for name, width in [*cells, ("mean", "")]:
        wanted = {} if name == "mean" else {"set": name, "network": width}
        line = f"{f'{name} {width}':24}"
        for arm in arms:
            keys = ("accuracy", "ece", "seconds", "cpu_seconds")
            numbers = [mean(found, key, arm=arm, **wanted) for key in keys]
            text = "–" if None in numbers else "{:.1%}  {:.3f} {:5.0f} s {:5.0f} s".format(*numbers)
            line += f"{text:>33}"
        lines.append(line)
    return lines


def claims(found):
    """Returns how the default compares, over the cells and seeds that all three arms have."""
    keys = {
        arm: {(row["set"], row["network"], row["seed"]) for row in found if row["arm"] == arm}
        for arm in ("default", "thorough", "keras")
    }
    shared = set.intersection(*keys.values())
    found = [row for row in found if (row["set"], row["network"], row["seed"]) in shared]
    if not found:
        return {}
    ahead = mean(found, "accuracy", arm="default") - mean(found, "accuracy", arm="thorough")
    error = mean(found, "ece", arm="default")
    times = {}
    for key in ("seconds", "cpu_seconds"):
        times[key] = mean(found, key, arm="default") / mean(found, key, arm="keras")
    holds = ahead >= -BARS["accuracy"] and error <= BARS["ece"] and times["seconds"] <= BARS["time"]
    return {
        "ahead_of_thorough": round(ahead, 4),
        "ece": round(error, 4),
        "time_by_that_of_the_script": round(times["seconds"], 3),
        "processor_time_by_that_of_the_script": round(times["cpu_seconds"], 3),
        "measurements": len(found) // 3,
        "claims_hold": holds,
    }


def against_baselines(found):
    """Returns by how much the default is ahead of the best baseline of each set and network, where there is one."""
    ahead = {}
    for name, width in dict.fromkeys((row["set"], row["network"]) for row in found):
        cell = {"set": name, "network": width}
        ours = mean(found, "accuracy", arm="default", **cell)
        theirs = [mean(found, "accuracy", arm=arm, **cell) for arm in BASELINES]
        theirs = [each for each in theirs if each is not None]
        if ours is not None and theirs:
            ahead[f"{name} {width}"] = round(ours - max(theirs), 4)
    if not ahead:
        return {}
    average, worst = statistics.mean(ahead.values()), min(ahead.values())
    return {
        "ahead_of_best_baseline": ahead,
        "ahead_on_average": round(average, 4),
        "never_below_holds": average >= BARS["ahead"] and worst >= -BARS["behind"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder with weights and image sets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=160, help="of images")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=(*ARMS, "scratch"))
    parser.add_argument("--rows", help="file to keep finished rows in")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="starts nothing after these"
    )
    asked = parser.parse_args()
    found = rows(asked)
    print("\n".join(table(found, asked.arms)))
    versions = {
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "keras_transfer": kt.__version__,
    }
    result = {"benchmark": "default_recipe", "size": asked.size, "seeds": asked.seeds}
    result |= claims(found) | against_baselines(found)
    result |= {"versions": versions, "device": f"{platform.machine()}, {os.cpu_count()} cores"}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
