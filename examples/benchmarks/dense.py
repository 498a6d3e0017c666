"""Boxes and masks with nothing tuned: `kt.fine_tune(model, data)` on three real sets.

    python examples/benchmarks/dense.py DATA

DATA holds `weights/` (the file of MobileNetV2 of width 1.0) and the sets `bccd` (boxes of blood cells, 320 pixels),
`pets3` (three parts of pictures of pets, 160 pixels) and `camvid_small` (eleven classes in streets, 256 x 320 pixels).
Each is trained from the pretrained weights and from random ones. Scores are those of the test images, means over the
seeds; times are CPU seconds of the whole training.

A finished measurement is a line of JSON on standard error, and in `--rows FILE`, from where it is not measured again.
One JSON line goes to standard output.
"""

import argparse
import csv
import json
import pathlib
import platform
import statistics
import time

import kept_rows
import keras
import tensorflow as tf

import keras_transfer as kt

WEIGHTS = "mobilenet_v2_1.0_224_no_top_from_int8.h5"
STREETS = [
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
]  # fmt: skip


def blood(root):
    data = kt.data.from_voc(root / "bccd", image_size=320, batch_size=8, corrupt="skip")
    return data, kt.tasks.Detection(data.class_names), ("map50", "map")


def pets(root):
    rows = []
    for row in csv.DictReader((root / "pets3" / "index.csv").open()):
        rows.append(
            {
                "image": f"images/{row['id']}.jpg",
                "part": f"trimaps/{row['id']}.png",
                "split": row["split"],
            }
        )
    parts = {"mask": "part", "classes": {"pet": 1, "background": 2, "border": 3}}
    data = kt.data.from_csv(
        rows,
        image="image",
        targets={"part": parts},
        root=root / "pets3",
        split="split",
        image_size=160,
        batch_size=8,
    ).only("part")
    return data, kt.tasks.Segmentation(data.class_names), ("mean_iou",)


def streets(root):
    rows = list(csv.DictReader((root / "camvid_small" / "index.csv").open()))
    data = kt.data.from_csv(
        rows,
        image="image",
        targets={"mask": {"mask": "mask", "classes": STREETS, "ignored": 11}},
        root=root / "camvid_small",
        split="split",
        image_size=(256, 320),
        batch_size=4,
    ).only("mask")
    return data, kt.tasks.Segmentation(data.class_names), ("mean_iou",)


SETS = {"bccd": blood, "pets3": pets, "camvid_small": streets}
EPOCHS = {"bccd": 15, "pets3": 40, "camvid_small": 40}  # from random weights


def network(root, size, *, pretrained):
    weights = str(root / "weights" / WEIGHTS) if pretrained else None
    return kt.backbone("MobileNetV2", weights=weights, image_size=size)


def measure(root, name, start, seed):
    """Trains once, and returns the scores on the test images and the CPU seconds."""
    keras.utils.set_random_seed(seed)
    data, task, scores = SETS[name](root)
    data = data.with_orders(seed)
    backbone = network(root, data.image_size, pretrained=start == "pretrained")
    model = kt.build_model(backbone, task, seed=seed)
    begin = time.process_time()
    options = {} if start == "pretrained" else {"plan": "full", "batch_norm": "train"}
    if start == "random":
        options |= {"epochs": EPOCHS[name], "learning_rate": 1e-3}
    kt.fine_tune(model, data, seed=seed, verbose=0, **options)
    seconds = time.process_time() - begin
    report = kt.evaluate(model, data, verbose=0)
    return {**{key: report[key] for key in scores}, "cpu_seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--starts", nargs="+", default=["pretrained", "random"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=pathlib.Path)
    options = parser.parse_args()

    kept = kept_rows.Rows(options.rows, ("set", "start", "seed"))
    table = {}
    for name in options.sets:
        for start in options.starts:
            rows = []
            for seed in range(options.seeds):
                arguments = (options.data, name, start, seed)
                rows.append(kept.get(measure, *arguments, set=name, start=start, seed=seed))
            means = {}
            for key in rows[0]:
                if key not in kept.names:
                    means[key] = round(statistics.mean(row[key] for row in rows), 4)
            table[f"{name}, {start}"] = means
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
    print(json.dumps({"dense": table, **versions, "machine": platform.machine()}))


if __name__ == "__main__":
    main()
