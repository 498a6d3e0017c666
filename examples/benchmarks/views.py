"""Are four kept views of each photograph as good as new ones in every epoch, and how much quicker?

    python examples/benchmarks/views.py DATA

DATA holds the image set `caltech24` and `weights/`. MobileNetV2 at 160 pixels, 10 epochs of the head and 10 from
`block_13_expand` on, with "light" augmentation: once with `views=4`, whose frozen part runs once over four random views
of each image, and once with new views in every epoch.

Claim: the mean test accuracy differs by at most a point. Over the seeds, both kinds in turns; one JSON line, about
10 minutes on two cores.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import time

import keras_transfer as kt

SIZE = 160
WEIGHTS = "mobilenet_v2_1.0_224_no_top_from_int8.h5"


def trained(root, seed, views):
    """Returns the seconds that training took, and the test accuracy."""
    folder = root / "caltech24"
    data = kt.data.from_folder(
        folder / "train", test=folder / "test", validation=0.2, image_size=SIZE, seed=seed
    )
    backbone = kt.backbone("MobileNetV2", weights=str(root / "weights" / WEIGHTS), image_size=SIZE)

    import keras

    keras.utils.set_random_seed(seed)
    model = kt.build_model(backbone, kt.tasks.Classification(data.class_names))
    began = time.perf_counter()
    kt.fine_tune(
        model,
        data,
        epochs=(10, 10),
        unfreeze="block_13_expand",
        learning_rate=(1e-3, 1e-4),
        augment="light",
        views=views,
        seed=seed,
        verbose=0,
    )
    return time.perf_counter() - began, kt.evaluate(model, data, verbose=0)["accuracy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path, help="folder with caltech24 and weights")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    rows = {4: [], 1: []}
    for seed in range(asked.seeds):
        for views, found in rows.items():
            found.append(trained(asked.data, seed, views))
            print(json.dumps({"views": views, "seed": seed, "found": found[-1]}), flush=True)
    seconds = {views: statistics.median(row[0] for row in found) for views, found in rows.items()}
    accuracy = {views: statistics.mean(row[1] for row in found) for views, found in rows.items()}
    result = {
        "benchmark": "views",
        "seeds": asked.seeds,
        "accuracy": {"four": accuracy[4], "endless": accuracy[1]},
    }
    result["points_ahead"] = round(100 * (accuracy[4] - accuracy[1]), 2)
    result["times_as_fast"] = round(seconds[1] / seconds[4], 2)
    print(json.dumps(result | {"device": f"{platform.machine()}, {os.cpu_count()} cores"}))


if __name__ == "__main__":
    main()
