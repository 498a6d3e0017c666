"""Do explanations show what the answer stands on, and what do they cost?

    python examples/benchmarks/explanations.py

A model learns the shape of the one object in a scene, so it is known where the evidence lies: in the object's box.
Claims: the hottest place of every class activation map of a right answer lies in it in at least 90 % of the scenes;
maps change with the weights (rank correlation below 0.3, or the line says so); 64 maps of Grad-CAM cost at most 3
forward passes of the same 64 images, medians of runs that take turns. Eight minutes on two free cores; prints one JSON
line.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

import keras_transfer as kt

SIZE = 64
CAMS = ("gradcam", "gradcam++", "layercam", "hirescam", "scorecam")
METHODS = {
    **{name: name for name in CAMS},
    "integrated_gradients": "integrated_gradients",
    "smoothgrad": "smoothgrad",
    "occlusion": "occlusion",
    "rise": kt.evaluation.RISE(masks=300),
}


def train(scenes, file):
    data = kt.data.scenes(
        scenes, image_size=SIZE, targets=["class", "boxes"], max_objects=1, test=0.1
    )
    classes = data.only("class")
    if file.is_file():
        return kt.load_model(file), classes, data.targets["test"]["boxes"]
    backbone = kt.backbone("tiny", image_size=SIZE)
    model = kt.build_model(backbone, kt.tasks.Classification(classes.class_names), seed=0)
    options = {"plan": "lp_ft", "batch_norm": "train", "learning_rate": 1e-3, "epochs": 8}
    kt.fine_tune(model, classes, refit=False, seed=0, **options)
    model.save(file)
    return model, classes, data.targets["test"]["boxes"]


def paint(boxes):
    """Truth values where the object's box is, from the boxes of each scene."""
    places = np.arange(SIZE) + 0.5
    x1, y1, x2, y2 = boxes[:, 0, :4].T[..., None]
    columns = (places >= x1) & (places <= x2)
    rows = (places >= y1) & (places <= y2)
    return rows[:, :, None] & columns[:, None, :]


def measure_costs(repeats):
    """Seconds of a forward pass and of 64 maps."""
    backbone = kt.backbone("MobileNetV2", image_size=160, weights=None)
    model = kt.build_model(backbone, kt.tasks.Classification(10), seed=0)
    images = np.random.default_rng(0).integers(0, 256, (64, 160, 160, 3), dtype="uint8")
    seconds = {"forward": [], "gradcam": []}
    for _ in range(repeats + 1):  # the first round compiles
        start = time.perf_counter()
        model.predict(images, batch_size=32, verbose=0)
        middle = time.perf_counter()
        kt.explain(model, images, method="gradcam", batch_size=32, verbose=0)
        seconds["forward"].append(middle - start)
        seconds["gradcam"].append(time.perf_counter() - middle)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=8000)
    parser.add_argument("--images", type=int, default=60, help="right answers that are explained")
    file = "keeps the trained model, or has one from before"
    parser.add_argument("--model", type=pathlib.Path, default="explanations.keras", help=file)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()

    model, data, boxes = train(asked.scenes, asked.model)
    accuracy = kt.evaluate(model, data, verbose=0)["accuracy"]
    print(f"accuracy {accuracy:.3f}", flush=True)
    images = np.concatenate([batch[0].numpy() for batch in data.test])
    is_right = model.predict(images, verbose=0).argmax(axis=1) == data.targets["test"]
    chosen = np.flatnonzero(is_right)[: asked.images]
    images, evidence = images[chosen], paint(boxes[chosen])
    methods = {}
    for name in asked.methods:
        found = kt.evaluation.assess_explanation(
            model, images, method=METHODS[name], evidence=evidence
        )
        methods[name] = {key: round(value, 3) for key, value in found.items() if key != "method"}
        methods[name]["warnings"] = found.warnings()
        print(found, flush=True)

    costs = measure_costs(asked.repeats)
    result = {
        "benchmark": "explanations",
        "test_accuracy": round(accuracy, 3),
        "images": len(images),
        "chance_of_pointing": round(float(evidence.mean()), 3),
        "methods": methods,
        "forward_seconds": round(costs["forward"], 3),
        "gradcam_seconds": round(costs["gradcam"], 3),
        "gradcam_in_forward_passes": round(costs["gradcam"] / costs["forward"], 2),
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
