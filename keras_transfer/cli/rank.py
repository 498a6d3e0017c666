"""`keras-transfer rank`: which pretrained network to take for some images."""

import argparse
import pathlib

from keras_transfer.cli import compare, options, sources

__all__ = ["add_arguments", "check", "main"]

SIZE = 224
ENDINGS = (".html", ".json", ".csv")
FILES = ("ranking.html", "ranking.csv", "result.json")  # beside the record of what has finished


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add = parser.add_argument
    compare.add_data(parser)
    backbones = "comma-separated names, files or folders: MobileNetV2,ResNet50V2,kerashub:..."
    add("--backbones", required=True, metavar="A,B", help=backbones)
    add("--image-size", type=options.sides, default=SIZE, metavar="N|HxW", help=f"({SIZE})")
    add("--max-latency", type=float, metavar="MS", help="milliseconds an image may take here")
    add("--max-parameters", type=options.positive, metavar="N", help="of the network")
    add("--finalists", type=int, default=4, metavar="N", help="that are fine-tuned; 0: none (4)")
    add("--epochs", type=options.positive, default=2, metavar="N", help="of their first round (2)")
    add("--jobs", type=options.positive, default=1, metavar="N", help="processes that train (1)")
    add("--ray", metavar="ADDRESS", help="a Ray cluster whose machines train")
    out = "file to write: .html, .json or .csv; or a folder for all of them and what has finished: the same command "
    add("--out", type=pathlib.Path, help=out + "goes on there")


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if the images, a name or --out cannot be used."""
    import keras_transfer as kt
    from keras_transfer.core import checks
    from keras_transfer.storage import files

    sources.check(arguments)
    compare.check_cluster(arguments)
    names = _names(arguments)
    for name in names:
        if names.count(name) > 1:
            raise checks.error("--backbones must be different", given=f"{name!r} twice")
    if arguments.max_latency is not None:
        checks.number(arguments.max_latency, name="max_latency", above=0)
    checks.integer(arguments.finalists, name="finalists", minimum=0)
    if not names:
        raise checks.error("--backbones must be names", given="none")
    kt.studies.name_candidates(names)
    out = arguments.out
    if out is None:
        return
    if _is_file(out) and out.suffix.lower() not in ENDINGS:
        expected = f"--out must end in {', '.join(ENDINGS)}, or be a folder"
        raise checks.error(expected, given=repr(str(out)))
    files.check_writable(out.parent if _is_file(out) else out, argument="out")


def main(arguments: argparse.Namespace) -> None:
    """Prints a line a network and the table, and writes the file."""
    import keras_transfer as kt
    from keras_transfer.core import checks

    out = arguments.out
    folder = None if out is None or _is_file(out) else out
    data = sources.load(arguments, (None, *checks.image_size(arguments.image_size), 3))
    ranking = kt.rank_backbones(
        _names(arguments),
        data,
        max_latency=arguments.max_latency,
        max_parameters=arguments.max_parameters,
        finalists=arguments.finalists,
        epochs=arguments.epochs,
        seed=arguments.seed,
        jobs=arguments.jobs,
        ray=arguments.ray,
        run_dir=folder,
    )
    print(ranking)
    if folder is not None:
        for name in FILES:
            ranking.save(folder / name)
        print(f"keras_transfer: {folder} holds {', '.join(FILES)}")
    elif out is not None:
        ranking.save(out)
        print(f"keras_transfer: wrote {out}")


def _is_file(path: pathlib.Path) -> bool:
    """Whether a path that is to be written is that of a file; others are folders."""
    return bool(path.suffix) and not path.is_dir()


def _names(arguments: argparse.Namespace) -> list[str]:
    return [name.strip() for name in arguments.backbones.split(",") if name.strip()]
