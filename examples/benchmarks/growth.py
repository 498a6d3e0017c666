"""Does cached fine-tuning stay as quick for each image, and as small, when there are many more of them?

    python examples/benchmarks/growth.py

Renders 1,000, 4,000, 16,000 and 64,000 small photos into a folder, and fine-tunes the bundled backbone on each folder
with `cache="disk"`, images read from their files, twelve epochs of the head: each in a process of its own.

Claims: what one image more costs, in the pass over the images and in an epoch on what is kept, is the same within
10 % from 4,000 to 16,000 images and from there to 64,000, and the peak of the resident memory grows by less than 100 MB
over that range. Medians of the runs, sizes taking turns. One JSON line; 5 to 15 minutes.

Measured: the pass 0.40 and 0.40 ms an image (1.004 times), an epoch 18.9 and 19.9 us (1.05 times), 32 MB.
"""

import argparse
import itertools
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

SIZES = (1000, 4000, 16_000, 64_000)
SIDE = 32


def render(folder, count):
    """Photos of one colour with noise, a class each for dark and light."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    for number in range(count):
        name = ("dark", "light")[number % 2]
        (folder / name).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 128, (SIDE, SIDE, 3)).astype("uint8") + np.uint8(
            100 * (number % 2)
        )
        (folder / name / f"{number}.jpg").write_bytes(tf.io.encode_jpeg(pixels, quality=80).numpy())


def one(folder, cache):
    """Fine-tunes, and returns seconds for each image and the peak of the resident memory."""
    import keras

    import keras_transfer as kt

    data = kt.data.from_folder(folder, image_size=SIDE, validation=None, cache="off", batch_size=64)
    count = len(data.targets["train"])
    model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(data.class_names))
    started, ends = time.perf_counter(), []
    clock = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: ends.append(time.perf_counter()),
        on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()),
    )
    stage = kt.Stage(epochs=12, train="head")
    where = kt.training.Cache(where="disk", folder=cache)
    kt.fine_tune(model, data, stages=[stage], cache=where, callbacks=[clock], seed=0, verbose=0)
    return {
        "images": count,
        "pass": ends[0] - started,
        "epoch": statistics.median(end - begin for begin, end in itertools.pairwise(ends)),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3,
    }


def measured(scratch, count):
    """Runs one size in a process of its own, on an empty cache."""
    with tempfile.TemporaryDirectory(dir=scratch) as cache:
        command = [
            sys.executable,
            __file__,
            "--folder",
            str(scratch / str(count)),
            "--cache",
            cache,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.folder:
        print(json.dumps(one(asked.folder, asked.cache)))
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for count in asked.sizes:
            render(pathlib.Path(scratch) / str(count), count)
        turns = [
            [measured(pathlib.Path(scratch), count) for count in asked.sizes]
            for _ in range(asked.runs)
        ]
    for row in zip(*turns, strict=True):
        rows.append(
            {name: round(statistics.median(run[name] for run in row), 3) for name in row[0]}
        )
    large = [row for row in rows if row["images"] >= 4000]
    result = {
        "benchmark": "growth",
        "runs": asked.runs,
        "rows": rows,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    for name in ("pass", "epoch"):
        costs = [
            1e6 * (more[name] - less[name]) / (more["images"] - less["images"])
            for less, more in itertools.pairwise(large)
        ]
        result[f"{name}_us_an_image"] = [round(cost, 1) for cost in costs]
        result[f"{name}_largest_over_smallest"] = round(max(costs) / min(costs), 3)
    result["memory_grows_by_mb"] = round(large[-1]["peak_mb"] - large[0]["peak_mb"], 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
