"""`keras-transfer train`: a folder of photos becomes a fine-tuned, measured, served model."""

import argparse
import json
import pathlib

from keras_transfer.cli import options

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Says what the command takes."""
    parser.add_argument("folder", help="one subfolder of images for each class")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder for everything that the run writes")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run wrote there")
    data = parser.add_argument_group("data")
    data.add_argument("--test", metavar="SHARE|FOLDER", help="images to measure on (default: the validation images)")
    data.add_argument(
        "--validation", metavar="SHARE|FOLDER", default="0.2", help="images to choose the best epoch with (0.2)"
    )
    options.add_images(data)
    model = parser.add_argument_group("model")
    options.add_backbone(model)
    model.add_argument(
        "--hidden", type=options.positive, nargs="*", default=[], metavar="N", help="hidden layers of the head"
    )
    model.add_argument("--dropout", type=float, default=0.0, metavar="SHARE", help="in the head (0)")
    model.add_argument("--pooling", default="avg", choices=("avg", "max", "concat"), help="over the feature map (avg)")
    model.add_argument("--balanced", action="store_true", help="let each class count alike")
    model.add_argument("--label-smoothing", type=float, default=0.0, metavar="SHARE", help="(0)")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--epochs", type=int, nargs=2, metavar=("HEAD", "FINE"), help="of the two stages (by size of the data)"
    )
    training.add_argument("--unfreeze", metavar="PATTERN", help="lowest block that trains in stage 2, or all")
    training.add_argument("--learning-rate", type=float, nargs=2, metavar=("HEAD", "FINE"), help="(1e-3 1e-4)")
    training.add_argument("--batch-norm", default="inference", choices=("inference", "train"), help="(inference)")
    training.add_argument("--seed", type=int, default=0, metavar="N", help="of split, order and weights (0)")
    training.add_argument("--quiet", action="store_true", help="no progress bars")


def main(arguments: argparse.Namespace) -> None:
    """Runs the whole job; what is finished lies in the folder at once."""
    import keras

    import keras_transfer as kt
    from keras_transfer.core import checks, files

    out = files.check_writable(arguments.out, argument="--out")
    earlier = [name for name in ("model.keras", "report.html", "report.json", "export/1") if (out / name).exists()]
    if earlier and not arguments.overwrite:
        given = f"'{out}', which holds {', '.join(earlier)}"
        raise checks.error("--out must be a new folder", given=given, fix="Add --overwrite.")
    keras.utils.set_random_seed(checks.integer(arguments.seed, name="--seed", minimum=0, below=checks.SEEDS))
    backbone = options.load_backbone(arguments)
    data = _data(arguments, backbone.input_shape)
    print(data.summary())
    model = kt.build_model(backbone, _task(arguments, data.class_names))
    for name in ("report.html", "report.json"):
        (out / name).unlink(missing_ok=True)  # of an earlier run
    kt.fine_tune(
        model,
        data,
        epochs=arguments.epochs,
        unfreeze=arguments.unfreeze,
        learning_rate=arguments.learning_rate,
        batch_norm=arguments.batch_norm,
        seed=arguments.seed,
        run_dir=out,
        verbose=2 if arguments.quiet else "auto",
    )
    with files.replacing(out / "model.keras") as temporary:
        model.save(temporary)
    (out / "best.npz").unlink(missing_ok=True)  # model.keras has them
    _measure(model, data, out)
    kt.export(model, out / "export" / "1", overwrite=arguments.overwrite)
    parity = kt.verify(out / "export" / "1", model, data)
    _add_to_record(out / "run.json", command=_plain(arguments), verify=parity)
    print(f"keras_transfer: {out} holds {', '.join(sorted(path.name for path in out.iterdir()))}")


def _data(arguments: argparse.Namespace, shape: tuple) -> object:
    import keras_transfer as kt

    return kt.data.from_folder(
        arguments.folder,
        test=_share_or_folder(arguments.test),
        validation=_share_or_folder(arguments.validation),
        image_size=shape[1:3],
        channels=shape[3],
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        corrupt="skip" if arguments.skip_corrupt else "error",
    )


def _task(arguments: argparse.Namespace, class_names: list[str]) -> object:
    import keras_transfer as kt

    return kt.tasks.Classification(
        class_names,
        hidden=arguments.hidden,
        dropout=arguments.dropout,
        pooling=arguments.pooling,
        class_weights="balanced" if arguments.balanced else None,
        label_smoothing=arguments.label_smoothing,
    )


def _measure(model: object, data: object, out: pathlib.Path) -> None:
    import keras_transfer as kt
    from keras_transfer.core import checks

    if data.test is None and data.validation is None:
        checks.note("neither test nor validation images: nothing was measured")
        return
    report = kt.evaluate(model, data)
    print(report)
    report.save(out / "report.json")
    report.save(out / "report.html")


def _add_to_record(path: pathlib.Path, **facts: object) -> None:
    from keras_transfer.core import files

    record = json.loads(path.read_text(encoding="utf-8"))
    files.write_text(path, json.dumps({**record, **facts}, indent=1) + "\n")


def _plain(arguments: argparse.Namespace) -> dict:
    """The command's arguments as JSON has them."""
    values = {name: value for name, value in vars(arguments).items() if name not in {"main", "command"}}
    return {name: str(value) if isinstance(value, pathlib.Path) else value for name, value in values.items()}


def _share_or_folder(text: str | None) -> float | str | None:
    """A number is a share, anything else a folder."""
    try:
        return None if text is None else float(text) or None
    except ValueError:
        return text
