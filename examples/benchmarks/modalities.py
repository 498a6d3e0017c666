"""Boxes and masks from colours, from depth, and from both: does depth as a channel help, and the pretrained stem?

    python examples/benchmarks/modalities.py

Rendered scenes of 64 pixels, whose depth is an image of one channel (depth alone, `channels=1`) or a fourth channel
(RGB-D, `channels=4`). "tiny" keeps its pretrained first layer for any number of channels; beside it the same network
with random weights, trained as long as a whole. Scores are those of the test images: mean IoU of the masks, mAP at 0.5
of the boxes. Offline.

A finished measurement is a line of JSON on standard error, and in `--rows FILE`, from where it is not measured again.
One JSON line goes to standard output.
"""

import argparse
import json
import pathlib
import platform
import time

import kept_rows
import keras
import numpy as np
import tensorflow as tf

import keras_transfer as kt

SIZE = 64
# What the network sees: how many channels, and how the first layer for RGB is adapted to them.
MODALITIES = {"RGB": (3, "mean"), "RGB-D": (4, "zero-extra"), "depth": (1, "mean")}
SCORES = {"masks": "mean_iou", "boxes": "map50"}


def load(modality, kind, count):
    scenes = kt.data.render_scenes(count, image_size=SIZE, seed=0)
    depth = np.rint(255 * scenes["depth"] / scenes["depth"].max()).astype("uint8")[..., None]
    images = {
        "RGB": scenes["images"],
        "RGB-D": np.concatenate([scenes["images"], depth], axis=-1),
        "depth": depth,
    }[modality]
    names = list(kt.data.SHAPES)
    if kind == "masks":
        labels, names, target = scenes["masks"], ["background", *names], "mask"
    else:
        labels, target = list_boxes(scenes), "boxes"
    options = {"class_names": names, "targets": target, "channels": images.shape[-1]}
    return kt.data.from_arrays(images, labels, test=0.25, seed=0, **options)


def list_boxes(scenes):
    labels = []
    for boxes, ids in zip(scenes["boxes"], scenes["box_classes"], strict=True):
        labels.append({"boxes": boxes[ids >= 0].tolist(), "labels": ids[ids >= 0].tolist()})
    return labels


def measure(modality, kind, start, options):
    keras.utils.set_random_seed(0)
    data = load(modality, kind, options.images)
    channels, mode = MODALITIES[modality]
    backbone = kt.backbone(
        "tiny",
        weights="pretrained" if start == "pretrained" else None,
        image_size=SIZE,
        channels=channels,
        channel_mode=mode,
    )
    task = kt.tasks.Segmentation if kind == "masks" else kt.tasks.Detection
    model = kt.build_model(backbone, task(data.class_names, width=32), seed=0)
    settings = {"epochs": tuple(options.epochs), "learning_rate": (2e-3, 1e-3), "unfreeze": "all"}
    if start == "random":
        settings = {"plan": "full", "batch_norm": "train", "learning_rate": 2e-3}
        settings["epochs"] = sum(options.epochs)
    begin = time.process_time()
    kt.fine_tune(model, data, seed=0, refit=False, verbose=0, **settings)
    seconds = time.process_time() - begin
    report = kt.evaluate(model, data, verbose=0)
    return {SCORES[kind]: report[SCORES[kind]], "cpu_seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--epochs", type=int, nargs=2, default=(3, 9))
    parser.add_argument("--modalities", nargs="+", default=list(MODALITIES), choices=MODALITIES)
    parser.add_argument("--kinds", nargs="+", default=list(SCORES), choices=SCORES)
    parser.add_argument("--starts", nargs="+", default=["pretrained", "random"])
    parser.add_argument("--rows", type=pathlib.Path)
    options = parser.parse_args()

    kept = kept_rows.Rows(options.rows, ("modality", "kind", "start"))
    table = {}
    for kind in options.kinds:
        for modality in options.modalities:
            for start in options.starts:
                arguments = (modality, kind, start, options)
                row = kept.get(measure, *arguments, modality=modality, kind=kind, start=start)
                numbers = {key: value for key, value in row.items() if isinstance(value, float)}
                table[f"{kind}, {modality}, {start}"] = {
                    key: round(value, 4) for key, value in numbers.items()
                }
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
    print(json.dumps({"modalities": table, **versions, "machine": platform.machine()}))


if __name__ == "__main__":
    main()
