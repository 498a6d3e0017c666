"""Is `kt.fine_tune(model, data)`, with nothing tuned, better than what people do by hand?

    python examples/benchmarks/default_recipe.py DATA

DATA holds `weights/` (two files of MobileNetV2, of widths 0.35 and 1.0) and the image sets `caltech24`, `alpaca2` and
`pets3`, with a training and a test part each. The recipe was chosen on these; `--sets pacs_small cifar10_small` asks
about two that had no say. Four ways to a classifier at 160 pixels, mean over the seeds:

* keras: Adam 1e-3 on the head for 10 epochs, then Adam 1e-5 on the layers from number 100 for 10 more, random flips
  and rotations (the two-stage script of the Keras guides), on all training images;
* regression: logistic regression on the frozen features, its strength chosen on a fifth of the training images, then
  fitted on all of them;
* scratch: the whole network from random weights for 20 epochs, otherwise as the first;
* default: `kt.fine_tune(model, data)`, which splits off its own validation images.

Claims: on every set the default is at least as good as the best of the others, and a point better on average. About 75
minutes on two free cores with `--scratch-seeds 1`. Rows go to standard error as they come, one JSON line to standard
output. With `--rows FILE`, rows are kept there and not measured again.
"""

import argparse
import csv
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
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import keras_transfer as kt

SIZE = 160
SETS = ("caltech24", "alpaca2", "pets3")
NETWORKS = {
    "0.35": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
    "1.0": "mobilenet_v2_1.0_224_no_top_from_int8.h5",
}


def folders(root, name, scratch):
    """Returns the training and the test folder of a set, one subfolder a class."""
    if (root / name / "train").is_dir():
        return root / name / "train", root / name / "test"
    for row in csv.DictReader(
        (root / name / "index.csv").open()
    ):  # pets3 and pacs_small have a list instead
        file = row.get("file") or f"images/{row['id']}.jpg"
        link = (
            scratch
            / name
            / row["split"]
            / row.get("class", row.get("breed"))
            / file.replace("/", "-")
        )
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((root / name / file).resolve())
    return scratch / name / "train", scratch / name / "test"


def pixels(folder):
    """Returns images and class ids."""
    files = sorted(folder.glob("*/*.jpg"))
    names = sorted({file.parent.name for file in files})
    return kt.data.load_images(files, SIZE).astype("float32"), np.array(
        [names.index(f.parent.name) for f in files]
    )


def network(root, width, *, pretrained=True):
    weights = str(root / "weights" / NETWORKS[width]) if pretrained else None
    shape = (SIZE, SIZE, 3)
    return keras.applications.MobileNetV2(
        shape, alpha=float(width), include_top=False, weights=weights
    )


def keras_script(root, width, train, test, *, pretrained=True):
    base, classes = network(root, width, pretrained=pretrained), int(train[1].max()) + 1
    base.trainable = not pretrained
    inputs = keras.Input((SIZE, SIZE, 3))
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
    return float(np.mean(model.predict(test[0], verbose=0).argmax(axis=1) == test[1]))


def regression(root, width, train, test, *, seed):
    trunk = network(root, width)
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
    return float(best.score(features[1], test[1]))


def default(root, width, train, test, *, seed):
    data = kt.data.from_folder(train, test=test, image_size=SIZE, seed=seed)
    weights = str(root / "weights" / NETWORKS[width])
    backbone = kt.backbone("MobileNetV2", weights=weights, image_size=SIZE, alpha=float(width))
    model = kt.build_model(backbone, kt.tasks.Classification(data.class_names))
    kt.fine_tune(model, data, seed=seed, verbose=0)
    return float(kt.evaluate(model, data.test, verbose=0)["accuracy"])


def measure(root, name, width, arm, seed, scratch):
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    train, test = folders(root, name, scratch)
    if arm == "default":
        return default(root, width, train, test, seed=seed)
    parts = pixels(train), pixels(test)
    if arm == "regression":
        return regression(root, width, *parts, seed=seed)
    return keras_script(root, width, *parts, pretrained=arm == "keras")


def rows(asked):
    """Gives every measurement, those kept first."""
    kept = asked.rows and pathlib.Path(asked.rows)
    found = {}
    if kept and kept.is_file():
        for row in map(json.loads, kept.read_text().splitlines()):
            found[row["set"], row["network"], row["arm"], row["seed"]] = row
    with tempfile.TemporaryDirectory() as scratch:
        for name, width, seed, arm in (
            (name, width, seed, arm)
            for seed in range(asked.seeds)
            for name in asked.sets
            for width in asked.networks
            for arm in asked.arms
            if arm != "scratch" or seed < asked.scratch_seeds
        ):
            if (name, width, arm, seed) not in found:
                started = time.perf_counter()
                place = pathlib.Path(scratch) / f"{width}-{arm}-{seed}"
                score = measure(pathlib.Path(asked.data), name, width, arm, seed, place)
                seconds = round(time.perf_counter() - started, 1)
                row = {
                    "set": name,
                    "network": width,
                    "arm": arm,
                    "seed": seed,
                    "accuracy": score,
                    "seconds": seconds,
                }
                print(json.dumps(row), file=sys.stderr, flush=True)
                if kept:
                    with kept.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                found[name, width, arm, seed] = row
            yield found[name, width, arm, seed]


def table(found):
    """Means by set and network, and how far the default is ahead of the best other arm, with 95 % intervals."""
    result, ahead = {}, []
    for name in dict.fromkeys(row["set"] for row in found):
        cells, pairs = {}, []
        for width in dict.fromkeys(row["network"] for row in found):
            scores = {}
            for row in found:
                if (row["set"], row["network"]) == (name, width):
                    scores.setdefault(row["arm"], {})[row["seed"]] = 100 * row["accuracy"]
            means = {
                arm: round(statistics.mean(values.values()), 2) for arm, values in scores.items()
            }
            by_seed = {
                arm: [round(value, 2) for value in values.values()]
                for arm, values in scores.items()
            }
            cells[width] = {"mean": means, "seeds": by_seed}
            others = {arm: mean for arm, mean in means.items() if arm != "default"}
            if "default" in means and others:
                best = max(others, key=others.get)
                gaps = [scores["default"][seed] - value for seed, value in scores[best].items()]
                cells[width] |= {
                    "best_other": best,
                    "ahead": round(means["default"] - means[best], 2),
                }
                pairs += gaps
        result[name] = {"networks": cells}
        if pairs:
            result[name] |= {
                "ahead": round(statistics.mean(pairs), 2),
                "interval": _interval(pairs),
            }
            ahead += pairs
    return result, ahead


def _interval(values):
    if len(values) < 2:
        return None
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return [round(statistics.mean(values) - half, 2), round(statistics.mean(values) + half, 2)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder with weights and image sets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--scratch-seeds", type=int, default=3, help="seeds of the slowest and worst arm"
    )
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--arms", nargs="+", default=["regression", "default", "keras", "scratch"])
    parser.add_argument("--rows", help="file to keep finished rows in")
    asked = parser.parse_args()
    by_set, ahead = table(list(rows(asked)))
    result = {
        "benchmark": "default_recipe",
        "seeds": asked.seeds,
        "scratch_seeds": asked.scratch_seeds,
        "sets": by_set,
    }
    if ahead:
        result |= {"ahead": round(statistics.mean(ahead), 2), "interval": _interval(ahead)}
    result["versions"] = {
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "keras_transfer": kt.__version__,
    }
    result["device"] = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps(result))


if __name__ == "__main__":
    main()
