"""What does a training step cost on several devices, and what would it cost on TPUs?

    python examples/benchmarks/scaling.py steps
    python examples/benchmarks/scaling.py exchange
    python examples/benchmarks/scaling.py tpu --networks MobileNetV2
    python examples/benchmarks/scaling.py tpu --networks MobileNetV2 --size 96 --topology v5e-64

`steps` trains three convolutions with batches of 64 images on 1, 2 and 4 virtual devices of the CPU and on 2
processes, each in processes of its own. They share the same cores, so what a step takes longer than on one device is
what sharing costs. `exchange` and `tpu` compile training steps with the TPU's own compiler (extra "jax-tpu") and read
the program: how many bytes chips sum up, how much they compute, and the compiler's estimate of the time. Nothing runs
on a TPU. `steps` takes a minute or two on two cores, `tpu` ten minutes a network. One JSON line each.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time

import keras
import numpy as np

import keras_transfer as kt

BATCH, STEPS, EPOCHS = 64, 8, 6
NETWORKS = ("MobileNetV2", "ResNet50", "EfficientNetB0")
CLASSES = 100


def print_line(**facts):
    versions = {"keras": keras.__version__, "keras_transfer": kt.__version__}
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"benchmark": "scaling", **facts, "versions": versions, "device": device}))


# A step on virtual devices and in several processes.


class Clock(keras.callbacks.Callback):
    """Times every epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self.begin = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Stops it after the last step."""
        if batch == STEPS - 1:
            self.seconds.append(time.perf_counter() - self.begin)


def make_model():
    """A network whose step is neither nothing nor long."""
    x = image = keras.Input((64, 64, 3))
    for number, filters in enumerate((32, 64, 128), 1):
        name = f"block{number}_conv"
        x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu", name=name)(x)
    backbone = kt.backbone(keras.Model(image, x, name="small"), preprocess="tf")
    return kt.build_model(backbone, kt.tasks.Classification(8), seed=0)


def train(strategy):
    """Prints the seconds of a step: the median over epochs after the first, which traces."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (STEPS * BATCH, 64, 64, 3), np.uint8)
    data = kt.data.from_arrays(
        images, np.arange(len(images)) % 8, validation=None, batch_size=BATCH
    )
    with strategy.scope():
        model = make_model()
        kt.compile(model, optimizer=keras.optimizers.SGD(1e-3))
    clock = Clock()
    model.fit(data.train, epochs=EPOCHS, callbacks=[clock], shuffle=False, verbose=0)
    print(json.dumps({"seconds": statistics.median(clock.seconds[1:]) / STEPS}))


def start(arguments, **variables):
    command = [sys.executable, __file__, *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **variables}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def read(process):
    output = process.communicate()[0]
    if process.returncode:
        raise SystemExit(process.returncode)
    return json.loads(output.splitlines()[-1])["seconds"]


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def time_processes(count):
    workers = [f"127.0.0.1:{port}" for port in free_ports(count)]
    started = []
    for index in range(count):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        started.append(start(["worker"], TF_CONFIG=json.dumps(config)))
    return max(read(process) for process in started)


def measure_steps(turns):
    seconds = {}
    for _ in range(turns):  # they take turns, since other work on the machine comes and goes
        for devices in (1, 2, 4):
            name = f"{devices} devices"
            seconds.setdefault(name, []).append(read(start(["worker", "--devices", str(devices)])))
        seconds.setdefault("2 processes", []).append(time_processes(2))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    times = {name: round(each / medians["1 devices"], 2) for name, each in medians.items()}
    print_line(part="steps", batch=BATCH, seconds=round(medians["1 devices"], 4), times=times)


# Programs of the TPU's compiler.


def check(
    network, size, *, unfreeze, topology, batch, precision=None, balancing=None, on="representation"
):
    """Compiles a step in which a part of a network trains: "head", "half" or "all"."""
    backbone = kt.backbone(network, weights=None, image_size=size, precision=precision)
    task, labels = kt.tasks.Classification(CLASSES), np.zeros(batch, int)
    if balancing is not None:
        task = {"kind": task, "count": kt.tasks.Regression()}
        labels = {"kind": labels, "count": np.zeros(batch, np.float32)}
    model = kt.build_model(backbone, task, balancing=balancing, balance_on=on)
    blocks = list(backbone.blocks)
    if unfreeze != "all":
        kt.freeze(model, below="head" if unfreeze == "head" else blocks[len(blocks) // 2][0])
    kt.compile(model)
    images = np.zeros((batch, *model.input_shape[1:]), np.uint8)
    weights = sum(int(np.prod(each.shape)) for each in model.trainable_weights)
    found = kt.check_tpu(model, (images, labels), topology=topology, batch_size=batch)
    return found.to_dict() | {"trained_weights": weights}


def measure_exchange():
    found = {}
    for part in ("head", "half", "all"):
        found[part] = check("tiny", 32, unfreeze=part, topology="v5e-4", batch=32)
    for on in ("representation", "weights"):
        options = {"balancing": "pcgrad", "on": on}
        found[f"pcgrad on {on}"] = check(
            "tiny", 32, unfreeze="all", topology="v5e-4", batch=32, **options
        )
    keys = ("trained_weights", "exchanged", "all_reduces")
    rows = {name: {key: each[key] for key in keys} for name, each in found.items()}
    print_line(part="exchange", network="tiny", topology="v5e-4", rows=rows)


def measure_tpu(networks, part, *, size, topology, batch):
    for network in networks:
        options = {"unfreeze": part, "precision": "mixed_bfloat16"}
        found = check(network, size, topology=topology, batch=batch, **options)
        print_line(part="tpu", network=network, image_size=size, trains=part, found=found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("steps", "exchange", "tpu", "worker"))
    parser.add_argument("--turns", type=int, default=3, help="of steps")
    parser.add_argument("--devices", type=int, help="of a worker")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--size", type=int, default=224, help="of images")
    parser.add_argument("--topology", default="v5e-1", help="TPU chips")
    parser.add_argument("--batch", type=int, default=32, help="images a step of all chips")
    parser.add_argument("--trains", choices=("head", "half", "all"), default="all")
    asked = parser.parse_args()
    if asked.part == "steps":
        measure_steps(asked.turns)
    elif asked.part == "exchange":
        measure_exchange()
    elif asked.part == "tpu":
        options = {"size": asked.size, "topology": asked.topology, "batch": asked.batch}
        measure_tpu(asked.networks, asked.trains, **options)
    else:
        name = "mirrored" if asked.devices else "multiworker"
        train(kt.strategy(name, devices=asked.devices))


if __name__ == "__main__":
    main()
