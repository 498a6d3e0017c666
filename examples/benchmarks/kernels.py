"""What are oneDNN's kernels worth where TensorFlow leaves them off?

    python examples/benchmarks/kernels.py

One training step of the upper layers and one forward pass of 32 random images, for networks of several kinds with
random weights, each in a process of its own, once with TF_ENABLE_ONEDNN_OPTS=0 and once with 1. Where the processor has
instructions for neural networks, TensorFlow turns them on by itself; elsewhere the package does.

Claim: no network is slower by more than noise. Medians of 7 steps; one JSON line, about 3 minutes on two cores.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

NETWORKS = {
    "MobileNetV2": (160, "block_13_expand"),
    "EfficientNetB0": (128, "block4a_expand_conv"),
    "DenseNet121": (96, "conv4_block1_0_bn"),
    "ResNet50": (128, "conv5_block1_1_conv"),
}


def one(name):
    """Seconds of a training step and of a forward pass."""
    import keras
    import numpy as np
    import tensorflow as tf

    size, start = NETWORKS[name]
    base = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(size, size, 3)
    )
    pooled = keras.layers.GlobalAveragePooling2D()(base.output)
    model = keras.Model(base.input, keras.layers.Dense(24)(pooled))
    thawed = [layer.name for layer in base.layers].index(start)
    for number, layer in enumerate(base.layers):
        layer.trainable = number >= thawed and not isinstance(
            layer, keras.layers.BatchNormalization
        )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(1e-5)
    variables = model.trainable_variables
    optimizer.build(variables)
    images = tf.constant(np.random.default_rng(0).random((32, size, size, 3)), tf.float32)
    labels = tf.range(32) % 24

    @tf.function(jit_compile=False)
    def step():
        with tf.GradientTape() as tape:
            value = loss(labels, model(images, training=True))
        optimizer.apply(tape.gradient(value, variables), variables)

    @tf.function(jit_compile=False)
    def forward():
        return model(images, training=False)

    def seconds(function):
        function()
        times = []
        for _ in range(7):
            began = time.perf_counter()
            function()
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    return {"step": seconds(step), "forward": seconds(forward)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.one)))
        return
    found = {}
    for name in asked.networks:
        rows = []
        for switch in ("0", "1"):
            environment = {
                **os.environ,
                "TF_ENABLE_ONEDNN_OPTS": switch,
                "TF_CPP_MIN_LOG_LEVEL": "3",
            }
            command = [sys.executable, __file__, "--one", name]
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
        found[name] = {part: round(rows[0][part] / rows[1][part], 2) for part in rows[0]}
    result = {"benchmark": "kernels", "times_as_fast_with_onednn": found}
    print(json.dumps(result | {"device": f"{platform.machine()}, {os.cpu_count()} cores"}))


if __name__ == "__main__":
    main()
