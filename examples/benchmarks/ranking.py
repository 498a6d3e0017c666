"""Does `kt.rank_backbones` agree with what fine-tuning gives in the end?

    python examples/benchmarks/ranking.py DATA

DATA holds `weights/` (MobileNetV2 of widths 1.0 and 0.35, and SqueezeNet 1.1) and the image sets `caltech24`,
`alpaca2`, `pets3` and `cifar10_small`, with a training and a test part each. Candidates at 160 pixels: these three, and
MobileNetV2 of width 0.35 and SqueezeNet with random weights. For each set:

* ranking: `kt.rank_backbones` with the training part only; its short trainings are those of its default;
* truth: `kt.fine_tune(model, data)` of each candidate, and its accuracy on the test images, mean over `--seeds`; random
  ones train all layers at 1e-3.

Claims: Kendall's tau of the ranking's places with the truth is at least 0.66 on each set, and random ones come last.
The taus of each score by itself, of the mean rank of the scores and of the order by size are in the result, too. A
finished measurement is a line of JSON on standard error, and in `--rows FILE`, from where it is not measured again. One
JSON line goes to standard output.
"""

import argparse
import csv
import itertools
import json
import os
import pathlib
import platform
import statistics
import sys
import tempfile

import kept_rows
import keras
from scipy import stats

import keras_transfer as kt

SIZE = 160
BAR = 0.66
WEIGHTS = {
    "mobilenet_1.0": "mobilenet_v2_1.0_224_no_top_from_int8.h5",
    "mobilenet_0.35": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
    "squeezenet": "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5",
}
CANDIDATES = (*WEIGHTS, "random_mobilenet", "random_squeezenet")
SETS = ("caltech24", "alpaca2", "pets3", "cifar10_small")


def squeezenet():
    """SqueezeNet 1.1 without its head; the names of layers do not matter, the file is loaded in their order."""

    def fire(x, squeezed, expanded):
        x = keras.layers.Conv2D(squeezed, 1, activation="relu")(x)
        small = keras.layers.Conv2D(expanded, 1, activation="relu")(x)
        large = keras.layers.Conv2D(expanded, 3, padding="same", activation="relu")(x)
        return keras.layers.Concatenate()([small, large])

    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(64, 3, strides=2, activation="relu")(image)
    for widths in (((16, 64), (16, 64)), ((32, 128), (32, 128))):
        x = keras.layers.MaxPooling2D(3, strides=2)(x)
        for width in widths:
            x = fire(x, *width)
    x = keras.layers.MaxPooling2D(3, strides=2)(x)
    for width in ((48, 192), (48, 192), (64, 256), (64, 256)):
        x = fire(x, *width)
    return keras.Model(image, x, name="squeezenet")


def network(root, name):
    file = None if name.startswith("random") else str(root / "weights" / WEIGHTS[name])
    if "squeezenet" in name:
        return kt.backbone(squeezenet(), preprocess="caffe", weights=file)
    width = 1.0 if name.endswith("1.0") else 0.35
    return kt.backbone("MobileNetV2", weights=file, image_size=SIZE, alpha=width)


def load(root, name, seed, scratch):
    """Returns the data of a set, split by a seed; a set that is a list becomes folders of links."""
    folder = root / name
    if not (folder / "train").is_dir():
        for row in csv.DictReader((folder / "index.csv").open()):
            file = folder / "images" / f"{row['id']}.jpg"
            link = scratch / name / row["split"] / row["breed"] / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
        folder = scratch / name
    return kt.data.from_folder(folder / "train", test=folder / "test", image_size=SIZE, seed=seed)


def rank(root, data):
    named = {name: network(root, name) for name in CANDIDATES}
    ranking = kt.rank_backbones(named, data, verbose=0)
    print(ranking, file=sys.stderr, flush=True)
    return {"rows": ranking["rows"], "conclusions": ranking["conclusions"]}


def train(root, data, name, seed):
    keras.utils.set_random_seed(seed)
    task = kt.tasks.Classification(data.class_names)
    model = kt.build_model(network(root, name), task, seed=seed)
    options = {}
    if name.startswith("random"):
        options = {"plan": "full", "learning_rate": 1e-3, "batch_norm": "train"}
    kt.fine_tune(model, data, seed=seed, verbose=0, **options)
    return {"accuracy": kt.evaluate(model, data, verbose=0)["accuracy"]}


def look(root, name, what, seed, folder):
    """Ranks the candidates, or trains one of them."""
    keras.backend.clear_session()
    data = load(root, name, seed, folder)
    return rank(root, data) if what == "ranking" else train(root, data, what, seed)


def measure(asked):
    kept = kept_rows.Rows(asked.rows, ("set", "what", "seed"))
    wanted = [("ranking", 0), *itertools.product(CANDIDATES, range(asked.seeds))]
    with tempfile.TemporaryDirectory() as scratch:
        for name in asked.sets:
            for what, seed in wanted:
                folder = pathlib.Path(scratch) / f"{what} {seed}"
                key = {"set": name, "what": what, "seed": seed}
                kept.get(look, asked.data, name, what, seed, folder, **key)
    return kept.known


def agree(known, name, seeds):
    """Returns Kendall's taus of places and scores with the accuracies, and whether random ones are last."""
    rows = known[name, "ranking", 0]["rows"]
    truth = []
    for row in rows:
        each = [known[name, row["name"], seed]["accuracy"] for seed in range(seeds)]
        truth.append(round(statistics.mean(each), 4))

    def tau(values):
        return round(float(stats.kendalltau(values, truth).statistic), 3)

    found = {"ranking": tau([-row["place"] for row in rows])}
    found["mean_rank_of_scores"] = tau([-row["place_by_scores"] for row in rows])
    found["size"] = tau([-row["place_by_size"] for row in rows])
    for score in rows[0]["scores"]:
        found[score] = tau([row["scores"][score] for row in rows])
    last = sorted(rows, key=lambda row: row["place"])[-2:]
    found["random_last"] = all(row["name"].startswith("random") for row in last)
    found["accuracy"] = dict(zip([row["name"] for row in rows], truth, strict=True))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--seeds", type=int, default=3, help="of the truth")
    parser.add_argument("--rows", type=pathlib.Path)
    asked = parser.parse_args()
    known = measure(asked)
    found = {name: agree(known, name, asked.seeds) for name in asked.sets}
    holds = all(each["ranking"] >= BAR and each["random_last"] for each in found.values())
    versions = {"keras": keras.__version__, "keras_transfer": kt.__version__}
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    result = {"benchmark": "ranking", "sets": found, "claims_hold": holds}
    print(json.dumps(result | {"versions": versions, "device": device}))


if __name__ == "__main__":
    main()
