"""Breed, head box and three parts of the picture from one trunk, beside a model for each: how good, how quick?

    python examples/benchmarks/dense_joint.py DATA

DATA holds `weights/` (the file of MobileNetV2 of width 1.0) and `pets3`. `kt.fine_tune(model, data)` with nothing tuned
trains the three tasks together (their losses are added) and one by one, on the same images at 160 pixels.
On the test images: the accuracy of the breed, the mean IoU of the surest box with the head, the mean IoU of the parts;
times are CPU seconds of training. One JSON line.
"""

import argparse
import csv
import json
import pathlib
import platform
import time

import keras
import numpy as np
import tensorflow as tf

import keras_transfer as kt

WEIGHTS = "mobilenet_v2_1.0_224_no_top_from_int8.h5"
TARGETS = {
    "breed": "category",
    "head": {"boxes": ["xmin", "ymin", "xmax", "ymax"], "label": "part_name"},
    "parts": {"mask": "trimap", "classes": {"pet": 1, "background": 2, "border": 3}},
}


def read(root, size):
    rows = []
    for row in csv.DictReader((root / "index.csv").open()):
        files = {"image": f"images/{row['id']}.jpg", "trimap": f"trimaps/{row['id']}.png"}
        rows.append({**row, **files, "part_name": "head"})
    return kt.data.from_csv(
        rows,
        image="image",
        targets=TARGETS,
        root=root,
        split="split",
        image_size=size,
        batch_size=8,
    )


def make_tasks(data):
    return {
        "breed": kt.tasks.Classification(data.class_names["breed"]),
        "head": kt.tasks.Detection(data.class_names["head"]),
        "parts": kt.tasks.Segmentation(data.class_names["parts"]),
    }


def overlap_of_heads(model, data, name):
    """Returns the mean IoU of the surest found box with the true one; 0 where none is found."""
    task = kt.models.outputs(model)[name].task
    values = []
    for images, targets, *_ in data.test:
        outputs = model.predict_on_batch(images)
        outputs = outputs[name] if isinstance(outputs, dict) else outputs
        truth = targets[name] if isinstance(targets, dict) else targets
        for rows, found in zip(np.asarray(truth), task.find(outputs), strict=True):
            box, best = rows[0, :4], found[0, :4]
            sides = np.minimum(box[2:], best[2:]) - np.maximum(box[:2], best[:2])
            both = np.prod(np.maximum(sides, 0))
            union = np.prod(box[2:] - box[:2]) + np.prod(best[2:] - best[:2]) - both
            values.append(float(both / union) if found[0, 4] >= 0 else 0.0)
    return float(np.mean(values))


def train(root, data, task, size, seed, balancing):
    keras.utils.set_random_seed(seed)
    backbone = kt.backbone("MobileNetV2", weights=str(root / "weights" / WEIGHTS), image_size=size)
    model = kt.build_model(backbone, task, seed=seed, balancing=balancing)
    begin = time.process_time()
    kt.fine_tune(model, data, seed=seed, verbose=0)
    return model, time.process_time() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument(
        "--balancing", default="sum", help="how the losses of the three tasks are balanced"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    root, size, seed = options.data, options.image_size, options.seed
    data = read(root / "pets3", size).with_orders(seed)
    tasks = make_tasks(data)
    together, seconds = train(root, data, tasks, size, seed, options.balancing)
    report = kt.evaluate(together, data, verbose=0)
    scores = {
        "breed": [report["breed"]["accuracy"]],
        "head": [overlap_of_heads(together, data, "head")],
        "parts": [report["parts"]["mean_iou"]],
    }

    alone = 0.0
    for name, task in tasks.items():
        own = data.only(name)
        model, more = train(root, own, task, size, seed, None)
        alone += more
        if name == "head":
            scores[name].append(overlap_of_heads(model, own, "detection"))
        else:
            score = "accuracy" if name == "breed" else "mean_iou"
            scores[name].append(kt.evaluate(model, own, verbose=0)[score])
    table = {
        name: {"together": round(both, 4), "alone": round(single, 4)}
        for name, (both, single) in scores.items()
    }
    result = {"dense_joint": table, "cpu_seconds": {"together": seconds, "alone": alone}}
    result |= {"share_of_time": round(seconds / alone, 3)}
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
    print(json.dumps({**result, **versions, "machine": platform.machine()}))


if __name__ == "__main__":
    main()
