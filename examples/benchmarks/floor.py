"""How far is cached fine-tuning from what the arithmetic alone costs?

    python examples/benchmarks/floor.py DATA

The floor is a process that does what must be done and nothing else: loads the images of `caltech24` and the network,
runs the frozen part over them once, and makes the steps of both stages of `fine_tune_speed.py` (MobileNetV2 from
`block_13_expand`) in bare loops around a compiled step, with one pass over the validation images an epoch. Against it,
`kt.fine_tune` with `cache="memory"`; both from the start of the process to weights on disk.

Claim: at most 1.25 times the floor. Medians of the runs, sides taking turns; one JSON line.
"""

import argparse
import json
import os
import pathlib
import platform
import tempfile
import time

import fine_tune_speed as speed

WARM = "warm floor"


def compiled(tail, variables, optimizer, loss):
    """The step and the measurement of a tail."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, tail(x, training=True))
        optimizer.apply(tape.gradient(value, variables), variables)

    @tf.function(reduce_retracing=True)
    def measure(x, y):
        return loss(y, tail(x, training=False))

    return step, measure


def floor(root, network, out, *, is_warm):
    """The steps, and nothing around them; warm with the rows that a run before has left."""
    import keras_transfer as kt

    load_images = (
        kt.data.load_images
    )  # now TensorFlow is there, with the kernels that the other side has

    import keras
    import numpy as np
    import tensorflow as tf

    about = speed.NETWORKS[network]
    size = about["size"]
    folder = root / "caltech24"
    files, names = [], []
    for part in ("train", "test"):
        found = sorted((folder / part).glob("*/*.jpg"))
        files.append(found)
        names.append([file.parent.name for file in found])
    classes = sorted(set(names[0]))
    labels = np.array([classes.index(name) for name in names[0]])
    weights = str(root / "weights" / about["weights"])
    base = getattr(keras.applications, network)(
        include_top=False, weights=weights, input_shape=(size, size, 3)
    )
    boundary = base.get_layer(about["from"]).input
    pooled = keras.layers.GlobalAveragePooling2D()(base.output)
    head = keras.layers.Dense(len(classes))
    tails = [keras.Model(pooled, head(pooled))]

    if is_warm:
        kept = [np.load(out / f"kept_{at}.npy") for at in (0, 1)]
    else:
        lower = keras.Model(base.input, [pooled, boundary])
        train = load_images(files[0], size).astype("float32")

        @tf.function(reduce_retracing=True)
        def forward(images):
            return lower(images / 127.5 - 1, training=False)

        parts = [forward(tf.constant(train[at : at + 32])) for at in range(0, len(train), 32)]
        kept = [np.concatenate([part[at].numpy() for part in parts]) for at in (0, 1)]
    order = np.random.default_rng(0).permutation(len(labels))
    count = round(len(labels) * speed.SHARE)
    held, mine = order[:count], order[count:]
    tails.append(keras.Model(boundary, tails[0](pooled)))
    for layer in base.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    stages = []
    for tail, rows, rate in zip(tails, kept, (1e-3, 1e-5), strict=True):
        began = time.perf_counter()
        optimizer = keras.optimizers.Adam(rate)
        variables = tail.trainable_variables
        optimizer.build(variables)

        step, measure = compiled(tail, variables, optimizer, loss)
        for epoch in range(10):
            shuffled = np.random.default_rng((0, epoch)).permutation(mine)
            for at in range(0, len(shuffled), 32):
                batch = shuffled[at : at + 32]
                step(tf.constant(rows[batch]), tf.constant(labels[batch]))
            for at in range(0, len(held), 32):
                measure(
                    tf.constant(rows[held[at : at + 32]]), tf.constant(labels[held[at : at + 32]])
                )
        stages.append(time.perf_counter() - began)
    model = keras.Sequential([base, keras.layers.GlobalAveragePooling2D(), head])
    model.save_weights(out / "model.weights.h5")
    saved = time.time()
    for at in () if is_warm else (0, 1):
        np.save(out / f"kept_{at}.npy", kept[at])
    test = load_images(files[1], size).astype("float32") / 127.5 - 1
    answers = model.predict(test, verbose=0).argmax(axis=1)
    return stages, saved, float(np.mean(answers == [classes.index(name) for name in names[1]]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--network", default="MobileNetV2", choices=["MobileNetV2"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=pathlib.Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        stages, saved, accuracy = floor(
            asked.data, asked.network, asked.out, is_warm=asked.side == WARM
        )
        print(json.dumps({"stages": stages, "saved": saved, "accuracy": accuracy}))
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    scripts = {"floor": __file__, WARM: __file__, "memory": speed.__file__, "keras": speed.__file__}
    rows = {name: [] for name in scripts}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(asked.runs):
            for name, script in scripts.items():
                rows[name].append(
                    speed.measured(
                        asked.data, asked.network, name, pathlib.Path(folder), script=script
                    )
                )
    found = {name: speed.summary(each) for name, each in rows.items()}
    seconds = {name: side["seconds"] for name, side in found.items()}
    result = {"benchmark": "floor", "runs": asked.runs, "sides": found}
    result["times_the_floor"] = round(seconds["memory"] / seconds["floor"], 3)
    result["keras_to"] = {
        name: round(seconds["keras"] / seconds[name], 2) for name in scripts if name != "keras"
    }
    print(json.dumps(result | {"device": f"{platform.machine()}, {os.cpu_count()} cores"}))


if __name__ == "__main__":
    main()
