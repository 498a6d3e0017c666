"""Are answers as sure as they are right once their temperature is fitted on validation images?

    python examples/benchmarks/temperatures.py DATA

DATA as for `default_recipe.py`. MobileNetV2 of width 0.35 at 160 pixels is trained by `kt.fine_tune` with nothing
tuned, but without corrected confidences and without a second run on all images; then `kt.training.calibrate` fits the
temperature on the validation images, which is what `kt.fine_tune` does by itself.

Calibration error (ECE) and log loss on the test images before and after, mean over the seeds. Claims: the calibration
error becomes lower on at least three sets, and the log loss on average. One JSON line; six minutes on one core.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import tempfile

import default_recipe
import kept_rows
import keras
from sklearn.metrics import log_loss

import keras_transfer as kt

SETS = ("caltech24", "alpaca2", "pets3", "cifar10_small", "pacs_small/photo")
BAR = 3  # sets


def scores(model, images, classes):
    """Returns calibration error and log loss of a model's answers."""
    names = [str(each) for each in range(model.output_shape[-1])]
    answers = model.predict(images, verbose=0)
    found = kt.metrics.classification_scores(classes, answers, names)
    return {"ece": found["ece"], "log_loss": float(log_loss(classes, answers))}


def measure(root, name, seed, asked):
    """Trains, and returns the scores on the test images before and after the temperature."""
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as scratch:
        parts = default_recipe.folders(root, name, pathlib.Path(scratch))
        train, test = (default_recipe.pixels(part, asked.size) for part in parts)
    data = kt.data.from_arrays(train[0].astype("uint8"), train[1], seed=seed)
    weights = str(root / "weights" / default_recipe.NETWORKS[asked.network])
    backbone = kt.backbone(
        "MobileNetV2", weights=weights, image_size=asked.size, alpha=float(asked.network)
    )
    model = kt.build_model(backbone, kt.tasks.Classification(data.class_names), seed=seed)
    kt.fine_tune(model, data, calibrate=False, refit=False, seed=seed, verbose=0)
    before = scores(model, *test)
    kt.training.calibrate(model, data.validation)
    return {"before": before, "after": scores(model, *test)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path, help="folder with weights and image sets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=160, help="of images")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--network", default="0.35", choices=default_recipe.NETWORKS)
    parser.add_argument("--rows", type=pathlib.Path, help="file to keep finished rows in")
    asked = parser.parse_args()

    kept = kept_rows.Rows(asked.rows, ("set", "network", "seed"))
    found = {}
    for name in asked.sets:
        rows = []
        for seed in range(asked.seeds):
            key = {"set": name, "network": asked.network, "seed": seed}
            rows.append(kept.get(measure, asked.data, name, seed, asked, **key))
        found[name] = {}
        for score in ("ece", "log_loss"):
            for when in ("before", "after"):
                mean = statistics.mean(row[when][score] for row in rows)
                found[name][f"{score}_{when}"] = round(mean, 4)

    lower = [name for name, each in found.items() if each["ece_after"] < each["ece_before"]]
    gains = [each["log_loss_before"] - each["log_loss_after"] for each in found.values()]
    result = {"benchmark": "temperatures", "network": asked.network, "seeds": asked.seeds}
    result |= {"sets": found, "lower_ece": lower, "log_loss_gain": round(statistics.mean(gains), 4)}
    result |= {"claims_hold": len(lower) >= BAR and statistics.mean(gains) > 0}
    result |= {"versions": {"keras": keras.__version__, "keras_transfer": kt.__version__}}
    result |= {"device": f"{platform.machine()}, {os.cpu_count()} cores"}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
