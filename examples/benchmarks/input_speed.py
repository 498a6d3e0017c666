"""How fast do photos become batches, against the best tf.data pipeline written by hand?

    python examples/benchmarks/input_speed.py

Rendered JPEG photos of 500 x 375 pixels to batches of 32 at 160 pixels, shuffled: by `kt.data.from_folder` from their
files in every pass, by `kt.data.from_records` from what `kt.data.write_records` made of them, and by hand in several
ways. All of them resize with antialiasing, as Pillow does; `plain` does not, which is fast and gives other pictures.
They take turns. Images a second on the clock, and those in a second of processor time, which other programs on the
machine change less. A minute; one JSON line. What random changes cost: augment_speed.py.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import tempfile
import time

import numpy as np
import tensorflow as tf

import keras_transfer as kt

SIZE, BATCH = (160, 160), 32


def write_photos(folder, count):
    draw = np.random.default_rng(0)
    for at in range(count):
        small = draw.integers(0, 256, (24, 32, 3)).astype("float32")
        photo = tf.image.resize(small, (375, 500), method="bicubic")
        content = tf.io.encode_jpeg(tf.saturate_cast(photo, tf.uint8), quality=90).numpy()
        file = pathlib.Path(folder) / "ab"[at % 2] / f"{at}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def by_hand(paths, labels, *, accurate=False, antialias=True):
    """What a good tutorial says: everything in parallel, tuned by tf.data, and one batch ahead."""
    method = "INTEGER_ACCURATE" if accurate else "INTEGER_FAST"

    def load(path, label):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method=method)
        return tf.image.resize(image, SIZE, antialias=antialias), label

    dataset = tf.data.Dataset.from_tensor_slices((paths, labels)).shuffle(len(paths))
    return dataset.map(load, tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def ways(folder, records):
    options = {"image_size": SIZE, "batch_size": BATCH, "validation": None, "cache": "off"}
    data = kt.data.from_folder(folder, **options)
    kt.data.write_records(data, records)
    paths, labels = list(data.files["train"]), data.targets["train"]
    return {
        "folder": data.train,
        "records": kt.data.from_records(records).train,
        "by hand": by_hand(paths, labels),
        "by hand, accurate": by_hand(paths, labels, accurate=True),
        "by hand, plain": by_hand(paths, labels, antialias=False),
    }


def measure(dataset, count):
    """Images a second, and in a second of processor time, of one pass."""
    start, before = time.perf_counter(), time.process_time()
    for _ in dataset:
        pass
    return count / (time.perf_counter() - start), count / (time.process_time() - before)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=1600)
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        write_photos(f"{place}/photos", asked.photos)
        pipelines = ways(f"{place}/photos", f"{place}/records")
        rates = {name: [] for name in pipelines}
        for turn in range(asked.turns + 1):
            for name, dataset in pipelines.items():
                found = measure(dataset, asked.photos)
                rates[name] += [found] if turn else []  # the first pass traces and fills caches

    median = {
        name: [statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in rates.items()
    }
    names = ("by hand", "by hand, accurate")
    best = [max(median[name][column] for name in names) for column in (0, 1)]
    result = {
        "images_per_second": {name: round(found[0]) for name, found in median.items()},
        "images_per_cpu_second": {name: round(found[1]) for name, found in median.items()},
        "folder_to_best_by_hand": [round(median["folder"][at] / best[at], 3) for at in (0, 1)],
        "records_to_folder": [
            round(median["records"][at] / median["folder"][at], 3) for at in (0, 1)
        ],
        "photos": asked.photos,
        "turns": asked.turns,
        "cores": os.cpu_count(),
        "tensorflow": tf.__version__,
        "python": platform.python_version(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
