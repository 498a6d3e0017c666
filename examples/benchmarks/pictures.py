"""Noise taken away and colours given back: a pretrained encoder against random weights, at equal steps.

    python examples/benchmarks/pictures.py DATA

DATA holds `weights/` (the file of MobileNetV2 of width 1.0) and `cifar10_small` (photos of 32 pixels, enlarged to 64);
the other pictures are rendered scenes of 64 pixels. `kt.data.spoil` adds noise of standard deviation 25 or takes the
colours away, and `kt.tasks.ImageToImage` learns the pictures back. The pretrained network is trained by
`kt.fine_tune(model, data)`; the random one as a whole, as many epochs, with a momentum of 0.9 in batch normalisation.
PSNR and SSIM are those of the test images, beside those of the spoiled images themselves; times are CPU seconds.

A finished measurement is a line of JSON on standard error, and in `--rows FILE`, from where it is not measured again.
One JSON line goes to standard output.
"""

import argparse
import csv
import json
import pathlib
import platform
import time

import kept_rows
import keras
import numpy as np
import tensorflow as tf

import keras_transfer as kt

WEIGHTS = "mobilenet_v2_1.0_224_no_top_from_int8.h5"
SIZE = 64
MOMENTUM = 0.9


def load(root, name, count):
    if name == "scenes":
        return kt.data.scenes(count, image_size=SIZE, test=0.2, seed=0)
    with (root / "cifar10_small" / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    rows = rows[:: max(1, len(rows) // count)]
    return kt.data.from_csv(
        rows,
        image="file",
        targets={"class": "category"},
        root=root / "cifar10_small",
        split="split",
        image_size=SIZE,
        seed=0,
    )


def network(root, *, pretrained):
    weights = str(root / "weights" / WEIGHTS) if pretrained else None
    backbone = kt.backbone("MobileNetV2", weights=weights, image_size=SIZE)
    if not pretrained:
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = MOMENTUM
    return backbone


def spoiled_scores(data):
    """Returns the scores of the images themselves as answers."""
    answers, pictures = [np.concatenate(part) for part in zip(*data.ordered("test"), strict=True)]
    task = kt.tasks.ImageToImage()
    scores = task.measure(pictures, answers)
    return {"psnr": scores["psnr"], "ssim": scores["ssim"]}


def measure(root, name, way, start, options):
    keras.utils.set_random_seed(0)
    data = kt.data.spoil(load(root, name, options.images), way)
    if start == "spoiled":
        return spoiled_scores(data)
    backbone = network(root, pretrained=start == "pretrained")
    model = kt.build_model(backbone, kt.tasks.ImageToImage(width=options.width), seed=0)
    settings = {"epochs": tuple(options.epochs)}
    if start == "random":
        settings = {"plan": "full", "batch_norm": "train", "epochs": sum(options.epochs)}
    begin = time.process_time()
    history = kt.fine_tune(model, data, seed=0, refit=False, verbose=0, **settings)
    seconds = time.process_time() - begin
    report = kt.evaluate(model, data, verbose=0)
    row = {"psnr": report["psnr"], "ssim": report["ssim"], "cpu_seconds": seconds}
    return {**row, "epochs": len(history.epoch)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--sets", nargs="+", default=["scenes", "cifar10_small"])
    parser.add_argument("--ways", nargs="+", default=["noise", "grey"])
    parser.add_argument("--starts", nargs="+", default=["spoiled", "pretrained", "random"])
    parser.add_argument("--images", type=int, default=600, help="about how many of each set")
    parser.add_argument("--epochs", type=int, nargs=2, default=(3, 7))
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--rows", type=pathlib.Path)
    options = parser.parse_args()

    kept = kept_rows.Rows(options.rows, ("set", "way", "start"))
    table = {}
    for name in options.sets:
        for way in options.ways:
            for start in options.starts:
                arguments = (options.data, name, way, start, options)
                row = kept.get(measure, *arguments, set=name, way=way, start=start)
                numbers = {key: row[key] for key in row if key not in kept.names}
                table[f"{name}, {way}, {start}"] = {
                    key: round(value, 4) for key, value in numbers.items()
                }
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
    print(json.dumps({"pictures": table, **versions, "machine": platform.machine()}))


if __name__ == "__main__":
    main()
