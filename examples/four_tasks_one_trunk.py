"""The nearest object's class, all boxes, the shape at every pixel and the depth at every pixel: one trunk, one `fit`.

    python examples/four_tasks_one_trunk.py

Rendered scenes, offline, about two minutes on two cores; the report has the numbers and pictures of all four tasks.
With `--compare` each task is also trained alone, and `kt.compare_tasks` says which of them gain.
"""

import argparse

import keras_transfer as kt

TARGETS = ("class", "boxes", "mask", "depth_map")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1200, help="how many scenes to render")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, nargs=2, default=(4, 10))
    parser.add_argument("--balancing", default="uncertainty")
    parser.add_argument("--compare", action="store_true", help="train each task alone, too")
    parser.add_argument("--seeds", type=int, default=3, help="how often, with --compare")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", default="runs/four_tasks.html")
    asked = parser.parse_args()

    data = kt.data.scenes(
        asked.images, image_size=asked.image_size, targets=TARGETS, test=0.2, seed=asked.seed
    )
    tasks = {
        "class": kt.tasks.Classification(data.class_names["class"]),
        "boxes": kt.tasks.Detection(data.class_names["boxes"]),
        "mask": kt.tasks.Segmentation(data.class_names["mask"]),
        "depth_map": kt.tasks.Depth(),
    }
    backbone = kt.backbone("tiny", image_size=asked.image_size)
    options = {"epochs": asked.epochs, "learning_rate": (2e-3, 5e-4), "unfreeze": "block2"}
    if asked.compare:
        print(
            kt.compare_tasks(
                backbone, tasks, data, balancing=asked.balancing, seeds=asked.seeds, options=options
            )
        )
        return

    model = kt.build_model(backbone, tasks, balancing=asked.balancing, seed=asked.seed)
    kt.fine_tune(model, data, seed=asked.seed, verbose=2, **options)
    report = kt.evaluate(model, data)
    print(report)
    report.save(asked.report)


if __name__ == "__main__":
    main()
