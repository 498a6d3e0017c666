"""`keras-transfer train`: a folder of photos becomes a fine-tuned, measured, served model."""

import argparse
import json
import pathlib
from collections.abc import Sequence

from keras_transfer.cli import options, resuming

__all__ = ["PLANS", "add_arguments", "main"]

# For --help, which loads nothing; the plans are in kt.training.PLANS.
PLANS = (
    "two_stage",
    "gradual",
    "lp_ft",
    "surgical",
    "full",
    "head_only",
    "lora",
    "norms_and_biases",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Says what the command takes."""
    parser.add_argument(
        "folder", nargs="?", help="one subfolder of images for each class; not with --resume"
    )
    parser.add_argument(
        "--out", required=True, type=pathlib.Path, help="folder for everything that the run writes"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what an earlier run wrote there"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the interrupted run there, as it was begun",
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--test",
        metavar="SHARE|FOLDER",
        help="images to measure on (default: the validation images)",
    )
    data.add_argument(
        "--validation",
        metavar="SHARE|FOLDER",
        default="0.2",
        help="images to choose the best epoch with (0.2)",
    )
    options.add_images(data)
    model = parser.add_argument_group("model")
    options.add_backbone(model)
    model.add_argument(
        "--hidden",
        type=options.positive,
        nargs="*",
        default=[],
        metavar="N",
        help="hidden layers of the head",
    )
    model.add_argument(
        "--dropout", type=float, default=0.0, metavar="SHARE", help="in the head (0)"
    )
    model.add_argument(
        "--pooling",
        default="avg",
        choices=("avg", "max", "concat"),
        help="over the feature map (avg)",
    )
    model.add_argument("--balanced", action="store_true", help="let each class count alike")
    model.add_argument("--label-smoothing", type=float, default=0.0, metavar="SHARE", help="(0)")
    training = parser.add_argument_group(
        "training", "What is left out is chosen from the data, and printed."
    )
    training.add_argument(
        "--plan", metavar="NAME", help=f"{', '.join(PLANS[:-1])} or {PLANS[-1]}; {PLANS[0]}"
    )
    training.add_argument(
        "--epochs", type=int, nargs="+", metavar="N", help="of each stage, such as 10 10"
    )
    training.add_argument(
        "--unfreeze", metavar="PATTERN", help="lowest block that trains after the head, or all"
    )
    training.add_argument(
        "--learning-rate",
        type=options.rate,
        nargs="+",
        metavar="RATE",
        help="of each stage, such as 1e-3 1e-4; auto: found",
    )
    training.add_argument(
        "--batch-norm",
        choices=("inference", "train", "recalibrate"),
        help="of the pretrained part (inference)",
    )
    training.add_argument(
        "--augment", choices=("light", "strong", "none"), help="random changes to training images"
    )
    training.add_argument(
        "--cache",
        choices=("auto", "memory", "disk", "off"),
        help="where to keep what frozen layers give, instead of computing it in every epoch (auto)",
    )
    training.add_argument(
        "--views",
        type=int,
        metavar="N",
        help="random views of each training image to keep, with --augment (1: none)",
    )
    training.add_argument(
        "--refit",
        action=argparse.BooleanOptionalAction,
        help="train on the validation images, too, in the end",
    )
    training.add_argument(
        "--watch",
        nargs="*",
        choices=("distance", "gradient"),
        help="curves by block in the report (distance)",
    )
    training.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of split, order and weights (0)"
    )
    training.add_argument("--quiet", action="store_true", help="no progress bars")


def main(arguments: argparse.Namespace) -> None:
    """Runs the whole job; what is finished lies in the folder at once."""
    from keras_transfer.core import checks
    from keras_transfer.storage import files

    files.check_writable(arguments.out, argument="--out")
    trained = False
    if arguments.resume:
        arguments, trained = resuming.read(arguments, _parser())
    else:
        _check_free(arguments.out, arguments.overwrite)
        if arguments.folder is None:
            raise checks.error(
                "FOLDER must be given", given="none", fix="Or add --resume to go on with a run."
            )
    with resuming.explained(arguments.out):
        _run(arguments, trained)


def _run(arguments: argparse.Namespace, trained: bool) -> None:
    import keras

    import keras_transfer as kt
    from keras_transfer.core import checks, lookup

    out = arguments.out
    keras.utils.set_random_seed(
        checks.integer(arguments.seed, name="--seed", minimum=0, below=checks.SEEDS)
    )
    if arguments.plan is not None:
        lookup.find(arguments.plan, kt.training.PLANS, argument="--plan")
    kt.data.class_names_of(
        arguments.folder
    )  # says what is wrong with it before weights are downloaded
    backbone = options.load_backbone(arguments)
    data = _data(arguments, backbone.input_shape)
    print(data.summary())
    record = None
    if trained:
        checks.note(f"{out / 'model.keras'} is trained; going on with measuring it")
        model, record = options.load_run(
            argparse.Namespace(run=out, trust=arguments.trust_backbone)
        )
    else:
        model = kt.build_model(backbone, _task(arguments, data.class_names))
        _train(model, data, arguments)
    _measure(model, data, out, record)
    kt.export(model, out / "export" / "1", overwrite=arguments.overwrite or arguments.resume)
    parity = kt.verify(out / "export" / "1", model, data)
    _add_to_record(out / "run.json", command=resuming.plain(arguments), verify=parity)
    resuming.forget(out)
    print(f"keras_transfer: {out} holds {', '.join(sorted(path.name for path in out.iterdir()))}")


def _check_free(out: pathlib.Path, overwrite: bool) -> None:
    """Raises an error if there is something in the folder that the user may not want to lose."""
    from keras_transfer.core import checks

    if overwrite:
        return
    if resuming.is_begun(out):
        given, fix = "an interrupted run", "Add --resume to go on with it, or --overwrite."
        raise checks.error(
            "--out must be a new folder", given=f"'{out}', which holds {given}", fix=fix
        )
    earlier = [
        name
        for name in ("model.keras", "report.html", "report.json", "export/1")
        if (out / name).exists()
    ]
    if earlier:
        given = f"'{out}', which holds {', '.join(earlier)}"
        raise checks.error("--out must be a new folder", given=given, fix="Add --overwrite.")


def _train(model: object, data: object, arguments: argparse.Namespace) -> None:
    """Fine-tunes from the start or from where the run was interrupted, and writes `model.keras`."""
    import keras

    import keras_transfer as kt
    from keras_transfer.storage import files

    out = arguments.out
    for name in ("report.html", "report.json"):
        (out / name).unlink(missing_ok=True)  # of an earlier run
    asked = {
        name: getattr(arguments, name)
        for name in ("plan", "unfreeze", "batch_norm", "refit", "watch", "cache", "views")
    }
    asked |= {name: _alone(getattr(arguments, name)) for name in ("epochs", "learning_rate")}
    asked = {
        name: value for name, value in asked.items() if value is not None
    }  # the rest is fine_tune's to decide
    if arguments.augment is not None:
        asked["augment"] = None if arguments.augment == "none" else arguments.augment
    # Everything was checked when training begins; from here on there is something to go on with.
    begun = keras.callbacks.LambdaCallback(on_train_begin=lambda _: resuming.write(arguments))
    kt.fine_tune(
        model,
        data,
        **asked,
        callbacks=[begun],
        seed=arguments.seed,
        run_dir=out,
        resume=arguments.resume and (out / resuming.STATE).is_file(),
        verbose=2 if arguments.quiet else "auto",
    )
    with files.replacing(out / "model.keras") as temporary:
        model.save(temporary)
    resuming.write(arguments, trained=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser


def _alone(values: Sequence | None) -> object:
    """One value by itself, several as a tuple."""
    return None if values is None else values[0] if len(values) == 1 else tuple(values)


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


def _measure(model: object, data: object, out: pathlib.Path, record: dict | None) -> None:
    import keras_transfer as kt
    from keras_transfer.core import checks

    if data.test is None and data.validation is None:
        checks.note("neither test nor validation images: nothing was measured")
        return
    report = kt.evaluate(model, data, history=record)
    print(report)
    report.save(out / "report.json")
    report.save(out / "report.html")


def _add_to_record(path: pathlib.Path, **facts: object) -> None:
    from keras_transfer.storage import files

    record = json.loads(path.read_text(encoding="utf-8"))
    files.write_text(path, json.dumps({**record, **facts}, indent=1) + "\n")


def _share_or_folder(text: str | None) -> float | str | None:
    """A number is a share, anything else a folder."""
    try:
        return None if text is None else float(text) or None
    except ValueError:
        return text
