"""Three tasks with few labels each: is one trunk for all better than one for each?

    python examples/benchmarks/joint_scenes.py DATA
    python examples/benchmarks/joint_scenes.py DATA --random count

Rendered scenes with the class of the nearest object, the number of objects, and the depth of the nearest object as a
number. Of the training images each task has labels on 40 %, and the three sets of labelled images overlap as little as
that allows. `kt.compare_tasks` trains the joint model and one for each task, from the same weights and with the same
recipe, over seeds that also choose scenes and labels; all are measured on complete labels. With `--random TASK` that
task's training labels are shuffled: then nothing can be gained with it.

The count, which has to tell all objects where the others look at the nearest, has layers of its own from `block_13` on
(`--branch`). Training images are mirrored and recoloured. Measured with MobileNetV2 of width 0.35 at 96 pixels, 600
scenes, 3 seeds, tasks alone against together:

* class 47.7 % to 51.3 % (better in each seed), count off by 0.567 to 0.572, depth by 0.0886 to 0.0826; together 4.1 %
  better (95 %: -6.8 to 15.0), neutral: three seeds are few, the suggestion is one trunk for all;
* with `--random count`: count 0.879 to 0.870, class 47.7 % to 48.4 %, depth 0.0886 to 0.0840: neutral, all of them.

One JSON line; `--page FILE` saves the comparison as a page. About 7 minutes a seed.
"""

import argparse
import json
import os
import pathlib
import platform

import keras
import numpy as np

import keras_transfer as kt

TASKS = ("class", "count", "depth")
TESTED = 1000  # scenes; of so many, a point of accuracy is ten
CHANGES = {"flip": "both", "colour": 0.2}  # of training images: the tasks' answers stay
WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"


def scenes(seed, *, images, size, share, shuffled):
    """Scenes with missing training labels and complete test labels."""
    rendered = kt.data.render_scenes(images + TESTED, image_size=size, seed=seed)
    labels = {
        "class": rendered["class"].astype(object),
        "count": rendered["count"].astype("float32"),
        "depth": rendered["depth"].min(axis=(1, 2)),
    }
    train, test = slice(images), slice(images, None)
    held = {name: values[test] for name, values in labels.items()} | {
        "class": rendered["class"][test]
    }
    draw = np.random.default_rng(seed)
    places = draw.permutation(images)
    given = {}
    for number, name in enumerate(TASKS):
        values = labels[name][train].copy()
        if name == shuffled:
            values = draw.permutation(values)
        known = np.roll(places, -number * images // len(TASKS))[: round(share * images)]
        values[np.setdiff1d(np.arange(images), known)] = None if name == "class" else np.nan
        given[name] = values
    return kt.data.from_arrays(
        rendered["images"][train],
        given,
        test=(rendered["images"][test], held),
        class_names={"class": list(kt.data.SHAPES)},
        validation=0.2,
        seed=seed,
    )


def trunk(folder, size):
    if folder is None:
        return kt.backbone("tiny", image_size=size)
    return kt.backbone(
        "MobileNetV2", weights=str(folder / "weights" / WEIGHTS), image_size=size, alpha=0.35
    )


def stages(epochs, rate):
    """The heads, then everything at a falling rate."""
    return [
        kt.Stage(epochs=epochs[0], train="head", learning_rate=1e-3),
        kt.Stage(epochs=epochs[1], train="all", learning_rate=rate, schedule="cosine", warmup=0.1),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "data",
        type=pathlib.Path,
        nargs="?",
        help="folder with weights/; without it, the trunk is tiny",
    )
    parser.add_argument("--images", type=int, default=600, help="for training and validation")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--labelled", type=float, default=0.4)
    parser.add_argument("--epochs", type=int, nargs=2, default=(3, 40))
    parser.add_argument("--rate", type=float, default=1e-3, help="of the second stage")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--balancing", default="uncertainty", help="a name of kt.balancing.BALANCERS"
    )
    parser.add_argument(
        "--branch", default="block_13*", help="from there on the count has a branch; '' for none"
    )
    parser.add_argument("--random", choices=TASKS, help="task whose training labels are shuffled")
    parser.add_argument("--page")
    parser.add_argument("--run-dir")
    asked = parser.parse_args()
    tasks = {
        "class": kt.tasks.Classification(list(kt.data.SHAPES)),
        "count": kt.tasks.Regression(hidden=[64]),
        "depth": kt.tasks.Regression(hidden=[64]),
    }
    found = kt.compare_tasks(
        trunk(asked.data, asked.size),
        tasks,
        lambda seed: scenes(
            seed, images=asked.images, size=asked.size, share=asked.labelled, shuffled=asked.random
        ),
        seeds=asked.seeds,
        sharing={"count": asked.branch} if asked.branch else None,
        balancing=asked.balancing,
        options={"stages": stages(asked.epochs, asked.rate), "augment": kt.data.Augment(**CHANGES)},
        batches=2,
        run_dir=asked.run_dir,
        verbose=0,
    )
    if asked.page:
        found.save(asked.page)
    result = {"benchmark": "joint_scenes", "random": asked.random, "seeds": asked.seeds}
    result |= {key: found[key] for key in ("tasks", "delta", "similarity", "groups", "seconds")}
    result["versions"] = {"keras": keras.__version__, "keras_transfer": kt.__version__}
    result["device"] = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps(result))


if __name__ == "__main__":
    main()
