"""Three tasks on one trunk: the nearest object's shape (a class), how near it is, and how many objects there are.

    python examples/count_shapes.py

Rendered scenes, offline, a minute on two cores: one shape in three is right, out of eight (textures hide them); the
count is off by 0.61 on average, where always guessing the mean is off by 0.85. Each task has its own head and loss; the
units of the numbers are taken from the training data, so all losses are of one size and `balancing` says only what
matters more.
"""

import argparse

import keras_transfer as kt


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--epochs", type=int, nargs=2, default=(4, 6))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    data = kt.data.scenes(
        asked.images, image_size=48, targets=("class", "count", "depth"), test=0.2, seed=asked.seed
    )
    tasks = {
        "class": kt.tasks.Classification(data.class_names["class"]),
        "count": kt.tasks.Regression(unit="objects", hidden=[64]),
        "depth": kt.tasks.Regression(hidden=[64]),
    }
    balancing = {"class": 1.0, "count": 0.5}
    backbone = kt.backbone("tiny", image_size=48)
    model = kt.build_model(backbone, tasks, balancing=balancing, seed=asked.seed)
    kt.fine_tune(model, data, epochs=asked.epochs, unfreeze="all", seed=asked.seed, verbose=2)
    print(kt.evaluate(model, data))


if __name__ == "__main__":
    main()
