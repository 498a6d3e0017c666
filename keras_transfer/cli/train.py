"""`keras-transfer train`: fine-tunes a backbone on photos, measures it and exports it."""

import argparse
import contextlib
import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_transfer.cli import options, resuming, several_workers, sources

if TYPE_CHECKING:
    import keras

    import keras_transfer as kt

__all__ = ["PLANS", "STRATEGIES", "add_arguments", "check", "load_data", "main", "save_report"]

BOARD = "tensorboard"  # folder of --tensorboard, which kt.fine_tune makes
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
STRATEGIES = ("auto", "one", "mirrored", "multiworker", "tpu")  # of kt.strategy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add = parser.add_argument
    folder = (
        "one subfolder of images for each class, or train, val and test with such folders; a table (CSV, Parquet); or "
        "pictures with boxes (VOC, COCO, YOLO) or masks; records of `convert`; not with --resume"
    )
    add("folder", nargs="?", metavar="FOLDER", help=folder)
    add("--out", required=True, type=pathlib.Path, help="folder for everything that is written")
    add("--overwrite", action="store_true", help="replace what an earlier run wrote there")
    add("--resume", action="store_true", help="continue the interrupted run in --out as it began")
    add("--quiet", action="store_true", help="no progress bars")
    _add_data(parser.add_argument_group("data"))
    _add_model(parser.add_argument_group("model"))
    text = "What is left out is chosen from the data, and printed."
    _add_training(parser.add_argument_group("training", text))


def _add_data(group: argparse._ArgumentGroup) -> None:
    add, kind = group.add_argument, "SHARE|FOLDER"
    add(
        "--test",
        metavar=kind,
        help="images to measure on (default: FOLDER/test, else the validation images)",
    )
    chosen = "images that choose the best epoch (default: FOLDER/val, else 0.2)"
    add("--validation", metavar=kind, default="0.2", help=chosen)
    options.add_images(group)
    sources.add_arguments(group)


def _add_model(group: argparse._ArgumentGroup) -> None:
    options.add_backbone(group)
    add, widths = group.add_argument, "widths of the head's hidden layers (none)"
    add("--hidden", type=options.positive, nargs="*", default=[], metavar="N", help=widths)
    add("--dropout", type=float, default=0.0, metavar="SHARE", help="in the head (0)")
    add("--pooling", default="avg", choices=("avg", "max", "concat"), help="before the head (avg)")
    add("--balanced", action="store_true", help="weight classes by 1 / their number of images")
    add("--label-smoothing", type=float, default=0.0, metavar="SHARE", help="(0)")


def _add_training(group: argparse._ArgumentGroup) -> None:
    add, flag = group.add_argument, argparse.BooleanOptionalAction
    norms, augment = (
        ("inference", "train", "synchronized", "recalibrate"),
        ("light", "medium", "strong", "none"),
    )
    cache = "where to store frozen layers' outputs, which are then computed once (auto)"
    views = "random views of each training image to cache, with --augment (1: no views)"
    rule = "how rates, meant for batches of 32, follow the batch size of all devices (none)"
    plans = f"{', '.join(PLANS[:-1])} or {PLANS[-1]} ({PLANS[0]})"

    add("--plan", metavar="NAME", help=plans)
    add("--epochs", type=int, nargs="+", metavar="N", help="of each stage, such as 10 10")
    add(
        "--unfreeze",
        metavar="PATTERN",
        help="lowest block to train after the head, or all (upper half)",
    )
    rates = "of each stage, such as 1e-3 1e-4; auto searches one"
    add("--learning-rate", type=options.rate, nargs="+", metavar="RATE", help=rates)
    add("--rate-rule", choices=("none", "linear", "square_root"), help=rule)
    add("--batch-norm", choices=norms, help="of the pretrained part (inference)")
    add("--augment", choices=augment, help="random changes to training images")
    add("--cache", choices=("auto", "memory", "disk", "off"), help=cache)
    add("--views", type=int, metavar="N", help=views)
    add("--refit", action=flag, help="train once more, on training and validation images together")
    add("--calibrate", action=flag, help="correct confidences on validation images (yes)")
    watched = "curves by block in the report (distance)"
    add("--watch", nargs="*", choices=("distance", "gradient"), help=watched)
    limit = "stop in time with the best model so far (no limit)"
    add("--time-limit", type=float, metavar="SECONDS", help=limit)
    board = "curves, pictures and features for TensorBoard, in --out/tensorboard"
    add("--tensorboard", action="store_true", help=board)
    add("--seed", type=int, default=0, metavar="N", help="of split, order and weights (0)")
    among = f"share every batch among devices or machines: {', '.join(STRATEGIES)} (no sharing)"
    add("--strategy", metavar="NAME", help=among)
    add("--devices", type=options.positive, metavar="N", help="how many devices (all)")
    several = (
        "who starts several workers, here or on a cluster, and starts them again when one dies"
    )
    add("--engine", choices=("ray",), help=several)
    add("--workers", type=options.positive, metavar="N", help="how many workers, with --engine")


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if the options, the folder of images or --out cannot be used."""
    from keras_transfer.core import checks, lookup
    from keras_transfer.storage import files

    checks.integer(arguments.seed, name="seed", minimum=0, below=checks.SEEDS)
    if arguments.resume:
        resuming.read(arguments, _parser())
        return
    _check_free(arguments.out, arguments.overwrite)
    if arguments.folder is None:
        fix = "Or add --resume to continue a run."
        raise checks.error("FOLDER must be given", given="none", fix=fix)
    sources.check(arguments)
    options.check_backbone(arguments)
    if arguments.plan is not None:
        lookup.find(arguments.plan, dict.fromkeys(PLANS), argument="plan")
    _check_strategy(arguments)
    several_workers.check(arguments)
    files.check_writable(arguments.out, argument="out")


def _check_strategy(arguments: argparse.Namespace) -> None:
    from keras_transfer.core import checks, lookup

    if arguments.strategy is not None:
        lookup.find(arguments.strategy, dict.fromkeys(STRATEGIES), argument="strategy")
    elif arguments.devices is not None:
        fix = "Add --strategy auto."
        raise checks.error("--devices must come with --strategy", given=arguments.devices, fix=fix)


def main(arguments: argparse.Namespace) -> None:
    """Trains, measures and exports; each result is written as soon as it is there."""
    trained = False
    if arguments.resume:
        arguments, trained = resuming.read(arguments, _parser())
    with resuming.telling_how_to_resume(arguments.out):
        if arguments.engine is not None:
            several_workers.run(arguments, run)
        else:
            run(arguments, trained)


def run(
    arguments: argparse.Namespace,
    trained: bool = False,
    callbacks: Sequence["keras.callbacks.Callback"] = (),
) -> None:
    """Trains, measures and exports in this process; `trained` says that only the training is done."""
    import keras

    import keras_transfer as kt
    from keras_transfer.core import checks, processes

    out = arguments.out
    strategy: Any = None  # of TensorFlow or of JAX
    if arguments.strategy is not None:
        strategy = kt.strategy(arguments.strategy, devices=arguments.devices)
    keras.utils.set_random_seed(arguments.seed)
    with _scope(strategy):
        backbone = options.load_backbone(arguments)
    data = load_data(arguments, backbone.input_shape)
    print(data.summary())

    if trained:
        checks.note(f"{out / 'model.keras'} is trained already: measuring it")
    else:
        with _scope(strategy):
            model = kt.build_model(backbone, _make_tasks(arguments, data))
        _train(model, data, arguments, callbacks)

    # Under JAX only all processes together compute with what they share.
    is_shared = strategy is not None and getattr(strategy, "num_processes", 1) > 1
    if is_shared:
        strategy.leave()
    if not processes.writes():  # the first of several workers does the rest
        return
    if not trained:
        _save(model, arguments)
    if trained or is_shared:
        run = argparse.Namespace(run=out, trust=arguments.trust_backbone)
        model, _ = options.load_run(run)
    record = _write_command(arguments)
    _measure(model, data, arguments, record)
    kt.export(model, out / "export" / "1", overwrite=arguments.overwrite or arguments.resume)
    parity = kt.verify(out / "export" / "1", model, data)
    _add_to_record(out / "run.json", verify=parity)
    resuming.delete_resume_files(out)
    print(f"keras_transfer: {out} holds {', '.join(sorted(path.name for path in out.iterdir()))}")


def _scope(strategy: Any) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def _check_free(out: pathlib.Path, overwrite: bool) -> None:
    """Raises an error if the folder has something that the user may not want to lose."""
    from keras_transfer.core import checks

    if overwrite:
        return
    results = ("model.keras", "report.html", "report.json", "export/1")
    earlier, fix = [name for name in results if (out / name).exists()], "Add --overwrite."
    if resuming.is_begun(out):
        earlier, fix = ["an interrupted run"], "Add --resume to continue it, or --overwrite."
    if earlier:
        given = f"'{out}', which holds {', '.join(earlier)}"
        raise checks.error("--out must be a new folder", given=given, fix=fix)


def _train(
    model: "keras.Model",
    data: "kt.data.Data",
    arguments: argparse.Namespace,
    callbacks: Sequence["keras.callbacks.Callback"],
) -> None:
    """Fine-tunes from the start, or from where the run was interrupted."""
    import keras

    import keras_transfer as kt
    from keras_transfer.core import processes

    out = arguments.out
    resume = arguments.resume and (out / resuming.STATE).is_file()
    begun = []
    if processes.writes():
        for name in ("report.html", "report.json"):
            (out / name).unlink(missing_ok=True)  # of an earlier run
        if arguments.overwrite and not arguments.resume:
            (out / resuming.STATE).unlink(missing_ok=True)
        # The command may be resumed from here on: fine_tune has checked everything when training begins.
        write = keras.callbacks.LambdaCallback(on_train_begin=lambda _: resuming.write(arguments))
        begun.append(write)
    kt.fine_tune(
        model,
        data,
        **_chosen_options(arguments),
        callbacks=[*begun, *callbacks],
        seed=arguments.seed,
        run_dir=out,
        resume=resume,
        verbose=2 if arguments.quiet else "auto",
    )


def _save(model: "keras.Model", arguments: argparse.Namespace) -> None:
    """Writes `model.keras`, and that it is trained."""
    from keras_transfer.storage import files

    with files.replacing(arguments.out / "model.keras") as temporary:
        model.save(temporary)
    resuming.write(arguments, trained=True)


def _chosen_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of `kt.fine_tune` that the user gave; it decides on the others."""
    names = (
        "plan", "unfreeze", "batch_norm", "rate_rule", "refit", "calibrate", "watch", "cache", "views", "time_limit",
    )  # fmt: skip
    values = {name: getattr(arguments, name, None) for name in names}
    for name in ("epochs", "learning_rate"):
        values[name] = _unpack_single(getattr(arguments, name))
    values = {name: value for name, value in values.items() if value is not None}
    if arguments.tensorboard:
        values["tensorboard"] = True
    if arguments.augment is not None:
        values["augment"] = None if arguments.augment == "none" else arguments.augment
    return values


def _unpack_single(values: Sequence | None) -> object:
    """Returns the value of a list of one, a longer list as a tuple."""
    if values is None:
        return None
    return values[0] if len(values) == 1 else tuple(values)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser


def load_data(arguments: argparse.Namespace, shape: tuple) -> "kt.data.Data":
    """Returns the images that the command trains on, for a network whose input has that shape."""
    return sources.load(arguments, shape)


def _make_tasks(
    arguments: argparse.Namespace, data: "kt.data.Data"
) -> "kt.tasks.Task | dict[str, kt.tasks.Task]":
    """Returns a task for each kind of target."""
    kinds = sources.kinds_of(arguments)
    if isinstance(kinds, str):
        return _make_task(arguments, kinds, data.class_names, data.targets["train"])
    tasks = {}
    for name, kind in kinds.items():
        names = (data.class_names or {}).get(name)
        tasks[name] = _make_task(arguments, kind, names, data.targets["train"][name])
    return tasks


def _make_task(
    arguments: argparse.Namespace, kind: str, class_names: Any, targets: Any
) -> "kt.tasks.Task":
    import keras_transfer as kt
    from keras_transfer.core import checks

    head = {
        "hidden": arguments.hidden,
        "dropout": arguments.dropout,
        "pooling": arguments.pooling,
    }
    weights = "balanced" if arguments.balanced else None
    if kind == "category":
        smoothing = arguments.label_smoothing
        return kt.tasks.Classification(
            class_names, class_weights=weights, label_smoothing=smoothing, **head
        )
    if kind == "number":
        outputs = targets.shape[1] if targets.ndim > 1 else 1
        return kt.tasks.Regression(outputs, **head)
    if kind == "tags":
        return kt.tasks.MultiLabel(class_names, **head)
    if kind == "boxes":
        return kt.tasks.Detection(class_names)
    if kind == "mask":
        return kt.tasks.Segmentation(class_names, class_weights=weights)
    fix = "Build it in Python: kt.build_model(backbone, task)."
    raise checks.error(
        "targets of `train` must be of a kind with a task", given=repr(kind), fix=fix
    )


def _measure(
    model: "keras.Model", data: "kt.data.Data", arguments: argparse.Namespace, record: dict
) -> None:
    import keras_transfer as kt
    from keras_transfer.core import checks

    if data.test is None and data.validation is None:
        checks.note("nothing was measured: there are neither test nor validation images")
        return
    report = kt.evaluate(model, data, history=record, explain="gradcam")
    print(report)
    before = options.load_backbone(arguments)  # the other one has been trained
    kt.evaluation.illustrate(report, model, data, before=before)
    out = arguments.out
    save_report(report, out)
    if (out / BOARD).is_dir():
        kt.evaluation.write_board(out / BOARD, model, data, report)


def save_report(report: "kt.evaluation.Report", folder: pathlib.Path) -> list[str]:
    """Writes a report as a page, as JSON, as a model card and as pictures; returns the names of the files."""
    names = ["report.json", "report.html", "README.md"]
    for name in names:
        report.save(folder / name)
    return names + report.save_pictures(folder)


def _write_command(arguments: argparse.Namespace) -> dict:
    """Writes how to train the same again into `args.yaml` and `run.json`, and returns the record."""
    import yaml

    from keras_transfer.storage import files

    command = resuming.arguments_as_json(arguments)
    text = yaml.safe_dump(command, sort_keys=False)
    files.write_text(arguments.out / "args.yaml", text)
    again = resuming.command_line(arguments, _parser())
    record = _add_to_record(arguments.out / "run.json", command=command, run_again=again)
    return {**record, "run_dir": str(arguments.out)}


def _add_to_record(path: pathlib.Path, **facts: object) -> dict:
    """Adds facts to a record on disk, and returns it."""
    from keras_transfer.storage import files

    record = {**json.loads(path.read_text(encoding="utf-8")), **facts}
    files.write_text(path, json.dumps(record, indent=1) + "\n")
    return record
