"""`keras-transfer compare`: trains in several ways, over seeds, and says which is better and what it costs."""

import argparse
import pathlib

from keras_transfer.cli import options, sources

__all__ = ["add_arguments", "add_data", "check", "check_cluster", "main"]

ARMS = ("scratch", "probe", "two_stage")
FILES = ("comparison.html", "comparison.csv", "result.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add = parser.add_argument
    arms = f"comma-separated: scratch, probe, a plan, a backbone ... ({','.join(ARMS)})"
    add_data(parser)
    add("--arms", default=",".join(ARMS), metavar="A,B", help=arms)
    add("--seeds", type=options.positive, default=3, metavar="N", help="trainings an arm (3)")
    add("--level", default="0.95", help="of intervals; none for one seed (0.95)")
    images = "learning curves: numbers of labelled images, or shares: 0.25,0.5"
    add("--images", metavar="N,N", help=images)
    add("--metric", metavar="NAME", help="score of the report (the one that sums the task up)")
    add("--reference", metavar="ARM", help="what others are compared with (probe, else the first)")
    add("--epochs", type=options.positive, metavar="N", help="of plans, for a quick look")
    add("--jobs", type=options.positive, default=1, metavar="N", help="processes that train (1)")
    add("--ray", metavar="ADDRESS", help="a Ray cluster whose machines train")
    out = "folder for the page, the tables, and finished trainings: the same command goes on there"
    add("--out", type=pathlib.Path, help=out)
    options.add_backbone(parser.add_argument_group("network"))


def add_data(parser: argparse.ArgumentParser) -> None:
    """Adds the options of labelled images, for this command and for `rank`."""
    kind = "SHARE|FOLDER"
    folder = "one subfolder of images for each class, or splits with them; or a table, boxes or masks as for train"
    parser.add_argument("folder", metavar="FOLDER", help=folder)
    group = parser.add_argument_group("data")
    test = "images to measure on (default: FOLDER/test, else the validation images)"
    group.add_argument("--test", metavar=kind, help=test)
    validation = "images that choose epochs (default: FOLDER/val, else 0.2)"
    group.add_argument("--validation", metavar=kind, default="0.2", help=validation)
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of splits and orders (0)")
    options.add_images(group)
    sources.add_arguments(group)


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if the images, the backbone, a list or --out cannot be used."""
    from keras_transfer.core import checks, lookup
    from keras_transfer.storage import files

    sources.check(arguments)
    options.check_backbone(arguments)
    names = _words(arguments.arms)
    twice = [name for name in names if names.count(name) > 1]
    if not names or twice:
        given = f"{twice[0]!r} twice" if twice else "none"
        raise checks.error("--arms must be different names", given=given)
    if arguments.reference is not None:
        lookup.find(arguments.reference, dict.fromkeys(names), argument="reference")
    level = _level(arguments.level)
    if level is not None:
        checks.number(level, name="level", above=0, below=1)
    if level is not None and arguments.seeds < 2:
        fix = "Or set --level none to do without intervals."
        raise checks.error(
            "--seeds must be at least 2 for intervals", given=arguments.seeds, fix=fix
        )
    for number in _numbers(arguments.images) or ():
        checks.number(number, name="images", above=0)
    check_cluster(arguments)
    if arguments.out is not None:
        files.check_writable(arguments.out, argument="out")


def check_cluster(arguments: argparse.Namespace) -> None:
    """Raises an error if a Ray cluster is asked for and the package is absent, for this command and for `rank`."""
    from keras_transfer.core import optional

    if arguments.ray is not None:
        optional.check("ray", extra="ray", purpose="A comparison on a Ray cluster")


def main(arguments: argparse.Namespace) -> None:
    """Prints a line a training and the table, and writes the files."""
    import keras_transfer as kt

    kt.studies.make_arms(_words(arguments.arms))  # before anything is read or downloaded
    backbone = options.load_backbone(arguments)
    data = sources.load(arguments, backbone.input_shape)
    print(data.summary())
    comparison = kt.compare(
        data,
        _words(arguments.arms),
        backbone=backbone,
        metric=arguments.metric,
        seeds=arguments.seeds,
        level=_level(arguments.level),
        images=_numbers(arguments.images),
        options=None if arguments.epochs is None else {"epochs": arguments.epochs},
        reference=arguments.reference,
        jobs=arguments.jobs,
        ray=arguments.ray,
        run_dir=arguments.out,
    )
    print(comparison)
    if arguments.out is not None:
        for name in FILES:
            comparison.save(arguments.out / name)
        print(f"keras_transfer: {arguments.out} holds {', '.join(FILES)}")


def _words(text: str) -> list[str]:
    """Returns the words of a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _level(text: str) -> float | None:
    from keras_transfer.core import checks

    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise checks.error("--level must be a number or none", given=repr(text)) from None


def _numbers(text: str | None) -> list[float] | None:
    from keras_transfer.core import checks

    if text is None:
        return None
    try:
        return [float(word) if "." in word else int(word) for word in _words(text)]
    except ValueError:
        fix = "Such as --images 0.25,0.5."
        raise checks.error("--images must be numbers", given=repr(text), fix=fix) from None
