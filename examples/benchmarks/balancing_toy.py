"""Which ways of balancing find the Pareto front where a plain sum of losses gets stuck?

    python examples/benchmarks/balancing_toy.py

The problem in two dimensions of the CAGrad paper (Liu et al., 2021, https://arxiv.org/abs/2110.14048): two losses whose
steep valleys pull against each other, above a common bowl. Each method of `kt.balancing.BALANCERS` starts from the
five points and takes 100,000 steps of Adam with a rate of 0.001, the paper's. A run has reached the front if
no point is better by more than 0.1 for both losses.

Claim: the plain sum, and all that only weighs losses, stays in a valley from two of the starts; all that looks at
gradients leaves it. Prints one JSON line, how many of the five starts each method brings to the front, and draws
`balancing_toy.png` beside this file: the paths over the mean of both losses, the front in orange. About a minute.
"""

import argparse
import json
import pathlib

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import keras_transfer as kt

STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0))
LOWEST = 20.0  # below both losses: methods that take logarithms see losses above 0
RATE, STEPS, SHOWN = 0.001, 100_000, 100
CLOSE = 0.1


def losses(point):
    """The two losses, of shape (2, ...), at points of shape (2, ...)."""
    x, y = point[0], point[1]
    valleys = (
        tf.math.log(tf.maximum(tf.abs(0.5 * (-x - 7) - tf.tanh(-y)), 5e-6)) + 6,
        tf.math.log(tf.maximum(tf.abs(0.5 * (-x + 3) + tf.tanh(-y) + 2), 5e-6)) + 6,
    )
    bowls = [((-x + place) ** 2 + 0.1 * (-y - 8) ** 2) / 10 - 20 for place in (7.0, -7.0)]
    above, below = tf.maximum(tf.tanh(0.5 * y), 0), tf.maximum(tf.tanh(-0.5 * y), 0)
    return tf.stack(
        [valley * above + bowl * below for valley, bowl in zip(valleys, bowls, strict=True)]
    )


def path(balancer):
    """Returns a function from a start to the points that the method comes by, (SHOWN + 1, 2)."""
    known = tf.constant([True, True])

    def step(count, point, mean, square, state):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(point)
            values = losses(point)
            one, other = tf.unstack(values)
        rows = tf.stack([tape.gradient(one, point), tape.gradient(other, point)])
        if balancer.kind == "losses":
            factors, state = balancer.weights(values + LOWEST, known, state)
        else:
            gram = tf.matmul(rows, rows, transpose_b=True)
            factors, state = balancer.coefficients(gram, values + LOWEST, known, state)
        gradient = tf.linalg.matvec(rows, factors, transpose_a=True)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        size = tf.sqrt(square / (1 - 0.999**count)) + 1e-8
        return count + 1, point - RATE * mean / (1 - 0.9**count) / size, mean, square, state

    @tf.function(jit_compile=True)
    def walked(start):
        state = {name: tf.constant(value) for name, value in balancer.initial(2).items()}
        at = (tf.constant(1.0), start, tf.zeros(2), tf.zeros(2), state)
        points = tf.TensorArray(tf.float32, SHOWN + 1, element_shape=(2,)).write(0, start)
        for number in tf.range(1, SHOWN + 1):
            for _ in tf.range(STEPS // SHOWN):
                at = step(*at)
            points = points.write(number, at[1])
        return points.stack()

    return walked


def front(grid):
    """Those points of a grid (2, h, w) that no other is better than, in the order of the first loss."""
    points, values = (
        grid.reshape(2, -1),
        losses(tf.constant(grid, tf.float32)).numpy().reshape(2, -1),
    )
    order = np.argsort(values[0])
    lowest = np.minimum.accumulate(values[1][order])
    kept = order[np.concatenate([[True], values[1][order][1:] < lowest[:-1]])]
    return points[:, kept], values[:, kept]


def draw(found, grid, points, file):
    matplotlib.rcParams["font.size"] = 8
    columns = 6
    figure = Figure(figsize=(2.1 * columns, 2.2 * -(-len(found) // columns)), layout="constrained")
    height = losses(tf.constant(grid, tf.float32)).numpy().mean(axis=0)
    for place, (name, paths) in enumerate(found.items(), 1):
        axes = figure.add_subplot(-(-len(found) // columns), columns, place)
        axes.contour(grid[0], grid[1], height, levels=14, linewidths=0.5, cmap="Greys", alpha=0.7)
        axes.plot(*points, color="#d2690f", linewidth=3, zorder=1)
        for walked, is_there in paths:
            axes.plot(*walked.T, color="#2563d9" if is_there else "#c9342b", linewidth=1)
            axes.plot(*walked[0], "o", color="#1c2431", markersize=3)
            axes.plot(*walked[-1], "*", color="#2563d9" if is_there else "#c9342b", markersize=7)
        axes.set_title(f"{name}: {sum(is_there for _, is_there in paths)} of {len(paths)}")
        axes.set(xlim=(-10.5, 10.5), ylim=(-10.5, 10.5), xticks=[], yticks=[])
    figure.savefig(file, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=list(kt.balancing.BALANCERS))
    parser.add_argument("--picture", default=pathlib.Path(__file__).with_suffix(".png"))
    asked = parser.parse_args()
    grid = np.stack(
        np.meshgrid(np.linspace(-10.5, 10.5, 421), np.linspace(-10.5, 10.5, 421))
    ).astype("float32")
    points, values = front(grid)
    found = {}
    for name in asked.methods:
        walk = path(kt.balancing.BALANCERS[name]())
        found[name] = []
        for start in STARTS:
            walked = walk(tf.constant(start)).numpy()
            last = losses(tf.constant(walked[-1])).numpy()
            is_there = bool(
                np.isfinite(last).all() and not (values < last[:, None] - CLOSE).all(axis=0).any()
            )
            found[name].append((walked, is_there))
    draw(found, grid, points, asked.picture)
    reached = {name: [is_there for _, is_there in paths] for name, paths in found.items()}
    result = {
        "benchmark": "balancing_toy",
        "starts": STARTS,
        "reached": {n: sum(each) for n, each in reached.items()},
    }
    if "sum" in reached:
        hard = [at for at, is_there in enumerate(reached["sum"]) if not is_there]
        result["where_the_sum_fails"] = {
            n: sum(each[at] for at in hard) for n, each in reached.items()
        }
        result["hard_starts"] = [STARTS[at] for at in hard]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
