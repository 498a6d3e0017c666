"""Photos that a CSV file names: a class, a number and tags for each, some blank, and one table for all of it.

    python examples/photos_by_table.py

Writes rendered scenes and `labels.csv` into a folder, as people have such data: the table names the files, every fifth
count was never noted, and the scenes of one album must not be on both sides of a split. Then it reads the table, trains
the three tasks together and measures them on the held-out albums. Offline, less than a minute on two cores.
"""

import argparse
import csv
import pathlib

from PIL import Image

import keras_transfer as kt


def write_table(folder, count, seed):
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    scenes = kt.data.render_scenes(count, image_size=48, seed=seed)
    with open(folder / "labels.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "shape", "objects", "looks", "album"])
        for number, pixels in enumerate(scenes["images"]):
            name = f"photos/{number:04}.png"
            Image.fromarray(pixels).save(folder / name)
            shape = kt.data.SHAPES[scenes["class"][number]]
            objects = "" if number % 5 == 0 else scenes["count"][number]
            texture = kt.data.TEXTURES[scenes["texture"][number]]
            looks = f"{kt.data.COLOURS[scenes['colour'][number]]};{texture}"
            table.writerow([name, shape, objects, looks, f"album {number // 8}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("photos_by_table"))
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--epochs", type=int, nargs=2, default=(4, 4))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    write_table(asked.folder, asked.images, asked.seed)

    data = kt.data.from_csv(
        asked.folder / "labels.csv",
        image="file",
        targets={"shape": "category", "objects": "number", "looks": "tags"},
        group="album",
        test=0.2,
        image_size=48,
        seed=asked.seed,
    )
    print(data.summary())
    tasks = {
        "shape": kt.tasks.Classification(data.class_names["shape"]),
        "objects": kt.tasks.Regression(unit="objects"),
        "looks": kt.tasks.MultiLabel(data.class_names["looks"]),
    }
    backbone = kt.backbone("tiny", image_size=48)
    model = kt.build_model(backbone, tasks, balancing="uncertainty", seed=asked.seed)
    kt.fine_tune(model, data, epochs=asked.epochs, unfreeze="all", seed=asked.seed, verbose=2)
    print(kt.evaluate(model, data))


if __name__ == "__main__":
    main()
