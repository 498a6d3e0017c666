"""`keras-transfer auto`: the best model for photos, a table, boxes or masks that can be found in the time."""

import argparse
import pathlib
from typing import TYPE_CHECKING

from keras_transfer.cli import options, sources

if TYPE_CHECKING:
    import keras_transfer as kt

__all__ = ["add_arguments", "check", "main"]

PRESETS = ("medium", "high", "best")
RESULTS = ("model.keras", "leaderboard.html", "leaderboard.json", "leaderboard.csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add = parser.add_argument
    folder = "what to learn from, as for `keras-transfer train`"
    add("folder", metavar="FOLDER", help=folder)
    add("--out", type=pathlib.Path, default=pathlib.Path("best"), help="folder to write to (best)")
    limit = "how long it may take (600)"
    add("--time-limit", type=float, default=600.0, metavar="SECONDS", help=limit)
    add("--preset", default="high", choices=PRESETS, help="how broadly to look (high)")
    names = "networks to choose from, names or files (those whose weights are on this machine)"
    add("--candidates", nargs="+", metavar="NAME", help=names)
    size = "one side or HEIGHTxWIDTH of the images (several are tried)"
    add("--image-size", type=options.sides, metavar="N", help=size)
    add("--seed", type=int, default=0, metavar="N", help="of split, order and weights (0)")
    data = parser.add_argument_group("data")
    kind = "SHARE|FOLDER"
    data.add_argument("--test", metavar=kind, help="images to measure the result on (FOLDER/test)")
    chosen = "images that choose among the runs (default: FOLDER/val, else 0.2)"
    data.add_argument("--validation", metavar=kind, default="0.2", help=chosen)
    options.add_images(data)
    sources.add_arguments(data)


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if the folder of images or --out cannot be used."""
    from keras_transfer.core import checks
    from keras_transfer.storage import files

    checks.integer(arguments.seed, name="seed", minimum=0, below=checks.SEEDS)
    checks.number(arguments.time_limit, name="time_limit", above=0)
    sources.check(arguments)
    files.check_writable(arguments.out, argument="out")


def main(arguments: argparse.Namespace) -> None:
    """Searches, and writes the model and the leaderboard."""
    import keras_transfer as kt
    from keras_transfer.storage import files

    def load(image_size: tuple[int, int]) -> "kt.data.Data":
        return sources.load(arguments, (None, *image_size, 3))

    fixed = arguments.image_size
    if isinstance(fixed, int):
        fixed = (fixed, fixed)
    model, leaderboard = kt.auto(
        load if fixed is None else load(fixed),
        time_limit=arguments.time_limit,
        preset=arguments.preset,
        candidates=arguments.candidates,
        run_dir=arguments.out / "runs",
        seed=arguments.seed,
    )
    print(leaderboard)
    with files.replacing(arguments.out / "model.keras") as temporary:
        model.save(temporary)
    for name in RESULTS[1:]:
        leaderboard.save(arguments.out / name)
    written = list(RESULTS)
    data = load(tuple(leaderboard["best"]["size"]))
    if data.test is not None:
        report = kt.evaluate(model, data)
        print(report)
        report.save(arguments.out / "report.html")
        written.append("report.html")
    print(f"keras_transfer: {arguments.out} holds {', '.join(written)}")
