"""What does a training step of three tasks on one trunk cost, against one task?

    python examples/benchmarks/multitask_cost.py

MobileNetV2 of full width with random weights, all of it training, batches of 32 images of 128 pixels; the tasks are two
classifications and a number. Each way of balancing in `kt.balancing.BALANCERS` is a model of its own; the models take
turns, a few steps each, and the ratios are those of the medians over turns. `--weights` adds the methods that look at
gradients of the shared weights themselves instead of the representation. A quarter of an hour; one JSON line.
"""

import argparse
import json
import os
import platform
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

import keras_transfer as kt

SIZE, BATCH = 128, 32
CLASSES = {"class": 8, "background": 6}


def batches():
    draw = np.random.default_rng(0)
    images = tf.constant(draw.uniform(0, 255, (BATCH, SIZE, SIZE, 3)).astype("float32"))
    targets = {name: tf.constant(draw.integers(0, count, BATCH)) for name, count in CLASSES.items()}
    targets["count"] = tf.constant(draw.uniform(1, 4, BATCH).astype("float32"))
    return images, targets


def built(task, **options):
    keras.utils.set_random_seed(0)
    model = kt.build_model(
        kt.backbone("MobileNetV2", weights=None, image_size=SIZE), task, **options
    )
    kt.compile(model, optimizer=keras.optimizers.Adam(1e-4))
    return model


def step_of(model, images, targets):
    """Returns a function that takes one training step, as `fit` does."""
    data = tf.data.Dataset.from_tensors((images, targets)).repeat()
    iterator = iter(data)
    model.optimizer.build(model.trainable_variables)  # as `fit` does: else the step is traced twice
    model.make_train_function()

    def step():
        return keras.tree.map_structure(
            np.asarray, model.train_function(iterator)
        )  # waits for the result

    for _ in range(2):  # traces, and fills caches
        step()
    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3, help="of a model in its turn")
    parser.add_argument("--methods", nargs="+", default=list(kt.balancing.BALANCERS))
    parser.add_argument("--weights", action="store_true")
    asked = parser.parse_args()
    images, targets = batches()
    tasks = {name: kt.tasks.Classification(count) for name, count in CLASSES.items()}
    tasks["count"] = kt.tasks.Regression()
    steps = {"one task": step_of(built(tasks["class"]), images, targets["class"])}
    steps["three tasks"] = step_of(built(tasks), images, targets)
    kinds = {name: kt.balancing.BALANCERS[name].kind for name in asked.methods}
    for name, kind in kinds.items():
        steps[name] = step_of(built(tasks, balancing=name), images, targets)
        if asked.weights and kind == "gradients":
            steps[f"{name} on weights"] = step_of(
                built(tasks, balancing=name, balance_on="weights"), images, targets
            )
    seconds = {name: [] for name in steps}
    for _ in range(asked.turns):
        for name, step in steps.items():
            started = time.perf_counter()
            for _ in range(asked.steps):
                step()
            seconds[name].append((time.perf_counter() - started) / asked.steps)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    times = {name: round(each / medians["one task"], 3) for name, each in medians.items()}
    most = {
        kind: max(
            (times[name] for name in kinds if kinds[name] == kind and name != "sum"), default=None
        )
        for kind in ("losses", "gradients")
    }
    result = {
        "benchmark": "multitask_cost",
        "seconds_of_one_task": round(medians["one task"], 4),
        "times": times,
        "most": {"sum": times["three tasks"], **most},
        "versions": {
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "keras_transfer": kt.__version__,
        },
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
