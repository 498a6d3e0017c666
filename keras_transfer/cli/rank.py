"""`keras-transfer rank`: which pretrained network to take for some images."""

import argparse
import pathlib

from keras_transfer.cli import compare, options, sources

__all__ = ["add_arguments", "check", "main"]

SIZE = 224
ENDINGS = (".html", ".json", ".csv")


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
    add("--out", type=pathlib.Path, help="file to write: .html, .json or .csv")


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if the images, a name or --out cannot be used."""
    import keras_transfer as kt
    from keras_transfer.core import checks, lookup
    from keras_transfer.storage import files

    sources.check(arguments)
    compare.check_cluster(arguments)
    names = _names(arguments)
    for name in names:
        if names.count(name) > 1:
            raise checks.error("--backbones must be different", given=f"{name!r} twice")
        is_word = name.replace("_", "").isalnum()  # no path, no address
        if is_word and not pathlib.Path(name).exists():
            lookup.find(name, kt.backbones.CATALOGUE, argument="backbones")
    if arguments.max_latency is not None:
        checks.number(arguments.max_latency, name="max_latency", above=0)
    checks.integer(arguments.finalists, name="finalists", minimum=0)
    if not names:
        raise checks.error("--backbones must be names", given="none")
    if arguments.out is not None and arguments.out.suffix.lower() not in ENDINGS:
        expected = f"--out must end in {', '.join(ENDINGS)}"
        raise checks.error(expected, given=repr(str(arguments.out)))
    if arguments.out is not None:
        files.check_writable(arguments.out.parent, argument="out")


def main(arguments: argparse.Namespace) -> None:
    """Prints a line a network and the table, and writes the file."""
    import keras_transfer as kt
    from keras_transfer.core import checks

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
    )
    print(ranking)
    if arguments.out is not None:
        ranking.save(arguments.out)
        print(f"keras_transfer: wrote {arguments.out}")


def _names(arguments: argparse.Namespace) -> list[str]:
    return [name.strip() for name in arguments.backbones.split(",") if name.strip()]
