"""How much faster is fine-tuning when frozen layers are computed once? Processes, from their start to weights on disk.

    python examples/benchmarks/fine_tune_speed.py DATA
    python examples/benchmarks/fine_tune_speed.py DATA --network ResNet50

DATA holds the image set `caltech24` and `weights/`. Each side trains the head for 10 epochs and then the layers from
`block_13_expand` (`conv5_block1_1_conv` of ResNet50, on random weights) for 10 more, Adam 1e-3 and 1e-5, on the same
images with the same number of validation images. When the weights are on disk the clock stops, and the side measures
itself on the test images:

* kerashub (ResNet50 only): KerasHub's `ImageClassifier` on its own ResNet-50, data as for keras;
* guide: the usual script: a frozen base, a dense head, two `fit` calls, image files read in every epoch, flips and
  rotations as layers;
* keras: the same without flips and rotations, images decoded once and cached by `tf.data`;
* off: `kt.fine_tune(..., cache="off")`;
* memory: `kt.fine_tune`, what frozen layers give kept in memory;
* disk: the same, kept in a folder that an earlier run filled;
* views: as memory, on four random views of each image, as "light" augmentation makes them.

Medians over the runs, sides taking turns; about 45 minutes on two free cores. One JSON line. Each side runs as it
comes: where TensorFlow leaves oneDNN's kernels off, the package turns them on and a script of one's own does not
(`kernels.py` has what that is worth; TF_ENABLE_ONEDNN_OPTS=1 gives all sides the same).
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

NETWORKS = {
    "MobileNetV2": {
        "size": 160,
        "from": "block_13_expand",
        "weights": "mobilenet_v2_1.0_224_no_top_from_int8.h5",
    },
    "ResNet50": {"size": 128, "from": "conv5_block1_1_conv", "weights": None},
}
SIDES = ("kerashub", "guide", "keras", "off", "memory", "disk", "views")
OTHERS = SIDES[:3]  # without the package
SHARE = 0.2  # of the training images, for validation


def pictures(root, network, *, decoded_once):
    """Training, validation and test batches by Keras, and how many classes there are."""
    import keras
    import tensorflow as tf

    size = NETWORKS[network]["size"]
    options = {"image_size": (size, size), "batch_size": 32, "label_mode": "int", "verbose": False}
    folder = root / "caltech24"
    train, held = (
        keras.utils.image_dataset_from_directory(
            folder / "train", subset=subset, validation_split=SHARE, seed=0, **options
        )
        for subset in ("training", "validation")
    )
    classes = len(train.class_names)
    if decoded_once:
        train, held = train.cache(), held.cache()
    test = keras.utils.image_dataset_from_directory(folder / "test", shuffle=False, **options)
    return train.prefetch(tf.data.AUTOTUNE), held.prefetch(tf.data.AUTOTUNE), test, classes


def fitted(model, train, held, rate, loss):
    """One stage; returns its seconds."""
    import keras

    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    started = time.perf_counter()
    model.fit(train, validation_data=held, epochs=10, verbose=0)
    return time.perf_counter() - started


def thaw(layers, start):
    """What trains in the second stage: from a layer on, batch normalisations apart."""
    import keras

    thawed = [layer.name for layer in layers].index(start)
    for number, layer in enumerate(layers):
        layer.trainable = number >= thawed and not isinstance(
            layer, keras.layers.BatchNormalization
        )


def kerashub_script(root, network, out):
    """The same two stages with KerasHub's classifier, on random weights."""
    import keras
    import keras_hub

    if network != "ResNet50":
        raise SystemExit(
            "kerashub: only for ResNet50, whose backbone KerasHub makes without a download"
        )
    train, held, test, classes = pictures(root, network, decoded_once=True)
    size = NETWORKS[network]["size"]
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
        image_shape=(size, size, 3),
    )
    model = keras_hub.models.ImageClassifier(backbone=backbone, num_classes=classes)
    scaled = [
        part.map(lambda images, labels: (images / 127.5 - 1.0, labels))
        for part in (train, held, test)
    ]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    backbone.trainable = False
    stages = [fitted(model, *scaled[:2], 1e-3, loss)]
    backbone.trainable = True
    thaw(backbone.layers, "stack3_block0_1_conv")
    stages.append(fitted(model, *scaled[:2], 1e-5, loss))
    model.save_weights(out / "model.weights.h5")
    return stages, time.time(), model.evaluate(scaled[2], verbose=0)[1]


def keras_script(root, network, out, *, guide):
    """Two stages as the guides have them, or without what the other sides do not do."""
    import keras

    about = NETWORKS[network]
    size = (about["size"], about["size"])
    train, held, test, classes = pictures(root, network, decoded_once=not guide)
    weights = about["weights"] and str(root / "weights" / about["weights"])
    base = getattr(keras.applications, network)(
        include_top=False, weights=weights, input_shape=(*size, 3)
    )
    base.trainable = False
    inputs = keras.Input((*size, 3))
    x = (
        keras.layers.RandomRotation(0.2)(keras.layers.RandomFlip("horizontal")(inputs))
        if guide
        else inputs
    )
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    model = keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))
    loss = "sparse_categorical_crossentropy"
    stages = [fitted(model, train, held, 1e-3, loss)]
    base.trainable = True
    thaw(base.layers, about["from"])
    stages.append(fitted(model, train, held, 1e-5, loss))
    model.save_weights(out / "model.weights.h5")
    return stages, time.time(), model.evaluate(test, verbose=0)[1]


def ours(root, network, out, cache):
    import keras_transfer as kt

    about = NETWORKS[network]
    folder = root / "caltech24"
    data = kt.data.from_folder(
        folder / "train", test=folder / "test", validation=SHARE, image_size=about["size"]
    )
    weights = about["weights"] and str(root / "weights" / about["weights"])

    import keras

    keras.utils.set_random_seed(0)  # random weights are the same, so that the disk has them
    backbone = kt.backbone(network, weights=weights, image_size=about["size"])
    model = kt.build_model(backbone, kt.tasks.Classification(data.class_names))
    more = {}
    if cache == "views":
        cache, more = "memory", {"augment": "light", "views": 4}
    if cache == "disk":
        cache = kt.training.Cache(where="disk", folder=out / "cache")
    history = kt.fine_tune(
        model,
        data,
        epochs=(10, 10),
        unfreeze=about["from"],
        learning_rate=(1e-3, 1e-5),
        cache=cache,
        seed=0,
        verbose=0,
        **more,
    )
    model.save_weights(out / "model.weights.h5")
    saved = time.time()
    stages = [stage["seconds"] for stage in history.record["stages"]]
    return stages, saved, kt.evaluate(model, data, verbose=0)["accuracy"]


def side(root, network, name, out):
    """Runs one side in this process."""
    if name == "kerashub":
        stages, saved, accuracy = kerashub_script(root, network, out)
    elif name in ("guide", "keras"):
        stages, saved, accuracy = keras_script(root, network, out, guide=name == "guide")
    else:
        stages, saved, accuracy = ours(root, network, out, name)
    print(json.dumps({"stages": stages, "accuracy": accuracy, "saved": saved}))


def measured(root, network, name, out, script=__file__):
    """Runs one side in a process of its own; returns its stages, its accuracy and the seconds until it had saved."""
    command = [
        sys.executable,
        script,
        str(root),
        "--network",
        network,
        "--side",
        name,
        "--out",
        str(out),
    ]
    started = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    found["seconds"] = found.pop("saved") - started
    print(json.dumps({"side": name, **found}), file=sys.stderr, flush=True)
    return found


def summary(rows):
    """Medians of the runs of a side."""
    found = {"seconds": statistics.median(row["seconds"] for row in rows)}
    found["stages"] = [
        round(statistics.median(row["stages"][at] for row in rows), 2) for at in (0, 1)
    ]
    found["accuracy"] = round(statistics.median(row["accuracy"] for row in rows), 4)
    return found | {"seconds": round(found["seconds"], 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path, help="folder with caltech24 and weights")
    parser.add_argument("--network", choices=NETWORKS, default="MobileNetV2")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES[1:])
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=pathlib.Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        return side(asked.data, asked.network, asked.side, asked.out)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rows = {name: [] for name in asked.sides}
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        if "disk" in rows:
            measured(asked.data, asked.network, "disk", out)  # fills the folder
        for _ in range(asked.runs):
            for name in asked.sides:
                rows[name].append(measured(asked.data, asked.network, name, out))
    found = {name: summary(each) for name, each in rows.items()}
    ratios = {}
    for slow in (name for name in OTHERS if name in found):
        for quick in (name for name in found if name not in OTHERS):
            ratios[f"{quick} to {slow}"] = {
                "end_to_end": round(found[slow]["seconds"] / found[quick]["seconds"], 2),
                "frozen_stage": round(found[slow]["stages"][0] / found[quick]["stages"][0], 2),
            }
    result = {
        "benchmark": "fine_tune_speed",
        "network": asked.network,
        "runs": asked.runs,
        "sides": found,
    }
    result |= {"times_as_fast": ratios, "device": f"{platform.machine()}, {os.cpu_count()} cores"}
    result["onednn"] = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "as it comes")
    print(json.dumps(result))
    return None


if __name__ == "__main__":
    main()
