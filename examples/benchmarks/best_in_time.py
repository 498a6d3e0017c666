"""Is `kt.auto` with 300 seconds at least as good as `kt.fine_tune(model, data)` with either backbone?

    python examples/benchmarks/best_in_time.py DATA --rows FILE

DATA holds `weights/` (MobileNetV2 of widths 1.0 and 0.35) and the image sets `caltech24` and `pacs_small` (its
paintings), each with a training and a test part. At 160 pixels, for each set and seed:

* auto: `kt.auto(data, time_limit=300, candidates=...)` with both networks, the test accuracy of the model that it
  returns, and the seconds that the call took;
* the default: `kt.fine_tune(model, data)` with each of the networks, whose time is not limited.

Claims: on each set the mean test accuracy of auto is at least that of the better default less half a point, and no
call takes more than 330 seconds. Leave the machine to it: other work takes time from `auto`.

A finished measurement is a line of JSON on standard error, and in `--rows FILE`, from where it is not measured again:
a run that was stopped goes on. One JSON line goes to standard output.
"""

import argparse
import json
import os
import pathlib
import platform
import sys
import tempfile
import time

import kept_rows
import keras
import numpy as np
from default_recipe import folders

import keras_transfer as kt

SIZE = 160
LIMIT = 300  # seconds; a tenth more is allowed
BEHIND = 0.005
WEIGHTS = {
    "mobilenet_1.0": "mobilenet_v2_1.0_224_no_top_from_int8.h5",
    "mobilenet_0.35": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
}
SETS = ("caltech24", "pacs_small/art_painting")


def load(root, name, scratch):
    train, test = folders(root, name, scratch)
    return kt.data.from_folder(train, test=test, image_size=SIZE)


def network(root, name):
    width = float(name.partition("_")[2])
    weights = str(root / "weights" / WEIGHTS[name])
    return kt.backbone("MobileNetV2", weights=weights, image_size=SIZE, alpha=width)


def search(asked, data, seed):
    candidates = {name: network(asked.data, name) for name in WEIGHTS}
    begin = time.perf_counter()
    model, board = kt.auto(
        data,
        time_limit=asked.limit,
        preset=asked.preset,
        candidates=candidates,
        seed=seed,
        verbose=0,
    )
    seconds = time.perf_counter() - begin
    print(board, file=sys.stderr, flush=True)
    best = {name: board["best"][name] for name in ("network", "way", "round", "score")}
    return {"seconds": round(seconds, 1), "best": best, **score(model, data)}


def train(asked, data, name, seed):
    begin = time.perf_counter()
    task = kt.tasks.Classification(data.class_names)
    model = kt.build_model(network(asked.data, name), task, seed=seed)
    kt.fine_tune(model, data, seed=seed, verbose=0)
    seconds = time.perf_counter() - begin
    return {"seconds": round(seconds, 1), **score(model, data)}


def run(asked, data, what, seed):
    """Returns the accuracy and the seconds of one side."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    own = data.with_orders(seed)
    if what == "auto":
        return search(asked, own, seed)
    return train(asked, own, what, seed)


def score(model, data):
    return {"accuracy": kt.evaluate(model, data, verbose=0)["accuracy"]}


def measure(asked):
    """Returns the rows by set, side and seed, each measured once."""
    kept = kept_rows.Rows(asked.rows, ("set", "what", "seed"))
    with tempfile.TemporaryDirectory() as scratch:
        for name in asked.sets:
            data = load(asked.data, name, pathlib.Path(scratch))
            for seed in range(asked.seeds):
                for what in ("auto", *WEIGHTS):
                    kept.get(run, asked, data, what, seed, set=name, what=what, seed=seed)
    return kept.known


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for kt.auto")
    parser.add_argument("--preset", default="high")
    parser.add_argument("--rows", type=pathlib.Path)
    asked = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    known = measure(asked)
    found = {}
    for name in asked.sets:
        sides = {}
        for what in ("auto", *WEIGHTS):
            rows = [known[name, what, seed] for seed in range(asked.seeds)]
            sides[what] = {
                "accuracy": round(float(np.mean([row["accuracy"] for row in rows])), 4),
                "accuracies": [round(row["accuracy"], 4) for row in rows],
                "longest": max(row["seconds"] for row in rows),
            }
        best = max(sides[what]["accuracy"] for what in WEIGHTS)
        sides["gain"] = round(sides["auto"]["accuracy"] - best, 4)
        found[name] = sides

    longest = 1.1 * asked.limit
    holds = all(
        sides["gain"] >= -BEHIND and sides["auto"]["longest"] <= longest for sides in found.values()
    )
    result = {"benchmark": "best_in_time", "limit": asked.limit, "sets": found}
    result |= {"claims_hold": holds, "versions": {"keras": keras.__version__}}
    print(json.dumps(result | {"device": f"{platform.machine()}, {os.cpu_count()} cores"}))


if __name__ == "__main__":
    main()
