"""What do random changes cost, against reading photographs and against Keras's own layers?

    python examples/benchmarks/augment_speed.py DATA

DATA holds the image sets `pets3`, photographs of about 500 x 334 pixels, and `caltech24`, of 300 x 222. They are
resized to 160 pixels, in batches of 32. Processor time of passes over some 1,000 images, median of five in turns.

Claims: "light" costs at most 25 % of reading and decoding the JPEG files of usual photographs; with boxes and masks
that move along it takes at most 1.6 times its time for pictures alone; Keras's own layers for the same changes take at
least twice the time, alone and with boxes and masks. One JSON line, about three minutes on two cores.
"""

import argparse
import json
import pathlib
import platform
import shutil
import statistics
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

import keras_transfer as kt

SIZE, BATCH = 160, 32
BOXES = 8  # an image


def make_targets(count, seed=0):
    """Boxes and masks of `count` images."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, SIZE / 2, (count, BOXES, 2))
    sides = rng.uniform(8, SIZE / 2, (count, BOXES, 2))
    classes = rng.integers(0, 5, (count, BOXES, 1))
    boxes = np.concatenate([corners, corners + sides, classes, 0 * classes], axis=-1)
    masks = rng.integers(0, 5, (count, SIZE // 8, SIZE // 8), dtype=np.uint8)
    return {"boxes": boxes.astype("float32"), "mask": masks.repeat(8, axis=1).repeat(8, axis=2)}


def keras_light():
    """The layers of Keras that do what "light" does: a flip, a window enlarged, other light, contrast, saturation."""
    return [
        keras.layers.RandomFlip("horizontal", bounding_box_format="xyxy", seed=0),
        keras.layers.RandomZoom((-0.15, 0.0), bounding_box_format="xyxy", seed=0),
        keras.layers.RandomColorJitter((0, 255), 0.1, 0.1, 0.1, bounding_box_format="xyxy", seed=0),
    ]


def keras_policy():
    """Keras's RandAugment, with as many changes an image."""
    return [keras.layers.RandAugment((0, 255), num_ops=2, factor=0.5, seed=0)]


def with_layers(dataset, layers, *, targets):
    """Batches that Keras's layers have changed; of a dict, boxes and masks, too."""

    def changed(images, values):
        if not targets:
            for layer in layers:
                images = layer(images, training=True)
            return images, values
        boxes = {"boxes": values["boxes"][..., :4], "labels": values["boxes"][..., 4]}
        batch = {
            "images": images,
            "bounding_boxes": boxes,
            "segmentation_masks": values["mask"][..., None],
        }
        for layer in layers:
            batch = layer(batch, training=True)
        return batch["images"], batch["bounding_boxes"]["boxes"], batch["segmentation_masks"]

    return dataset.map(changed, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def seconds(dataset):
    """Processor seconds of one pass."""
    began = time.process_time()
    for _ in dataset:
        pass
    return time.process_time() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path, help="folder with caltech24")
    parser.add_argument("--passes", type=int, default=5)
    asked = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        measure(asked.data, pathlib.Path(temporary), asked.passes)


def in_class_folders(images, folder):
    """Copies `Abyssinian_100.jpg` to `Abyssinian/Abyssinian_100.jpg`."""
    for file in images.glob("*.jpg"):
        own = folder / file.stem.rpartition("_")[0]
        own.mkdir(exist_ok=True)
        shutil.copy(file, own)
    return folder


def read(folder, times):
    """Batches of photographs that are read and decoded in every pass."""
    data = kt.data.from_folder(
        folder, image_size=SIZE, batch_size=BATCH, validation=None, cache="off"
    )
    return data.train.repeat(times)


def measure(root, temporary, passes):
    """Prints the ratios."""
    large = read(in_class_folders(root / "pets3" / "images", temporary), 5)
    small = read(root / "caltech24" / "train", 2)
    images = np.concatenate([batch[0] for batch in small.take(8)])
    several = {"images": images, **make_targets(len(images))}
    light = kt.data.Augment.of("light")
    alone = tf.data.Dataset.from_tensor_slices((images, np.arange(len(images)) % 3)).batch(BATCH)
    placed = tf.data.Dataset.from_tensor_slices(
        (images, {name: several[name] for name in ("boxes", "mask")})
    ).batch(BATCH)
    few, alone, placed = alone.cache(), alone.cache().repeat(4), placed.cache().repeat(4)
    arms = {
        "files": large,
        "files, light": light.apply(large, seed=0),
        "small files": small,
        "small files, light": light.apply(small, seed=0),
        "nothing": alone,
        "light": light.apply(alone, seed=0),
        "light, Keras": with_layers(alone, keras_light(), targets=False),
        "nothing, targets": placed,
        "light, targets": light.apply(placed, seed=0),
        "light, targets, Keras": with_layers(placed, keras_light(), targets=True),
        "randaugment": kt.data.Augment(randaugment=2).apply(few, seed=0),
        "randaugment, Keras": with_layers(few, keras_policy(), targets=False),
    }
    times = {name: [] for name in arms}
    for number in range(passes + 1):
        for name, dataset in arms.items():
            spent = seconds(dataset)
            if number:  # the first pass traces
                times[name].append(spent)
    median = {name: statistics.median(values) for name, values in times.items()}

    alone_cost = median["light"] - median["nothing"]
    targets_cost = median["light, targets"] - median["nothing, targets"]
    result = {
        "light / reading files": median["files, light"] / median["files"] - 1,
        "light / reading small files": median["small files, light"] / median["small files"] - 1,
        "with boxes and masks / alone": targets_cost / alone_cost,
        "Keras / light": (median["light, Keras"] - median["nothing"]) / alone_cost,
        "Keras / light, boxes and masks": (
            median["light, targets, Keras"] - median["nothing, targets"]
        )
        / targets_cost,
        "Keras / randaugment": median["randaugment, Keras"] / median["randaugment"],
        "images per second": {
            "light": 4 * len(images) / alone_cost,
            "randaugment": len(images) / median["randaugment"],
            "randaugment, Keras": len(images) / median["randaugment, Keras"],
        },
        "seconds": median,
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "machine": platform.processor() or platform.machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
