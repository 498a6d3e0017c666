"""What `keras-transfer train` learns from: folders of classes, a table, annotations, or records; their files tell.

One more form is a row of `FORMS`, and a branch of each of `recognise`, `load` and `kinds_of`.
"""

import argparse
import json
import pathlib
from typing import TYPE_CHECKING, Any

from keras_transfer.cli import options

if TYPE_CHECKING:
    import keras_transfer as kt

__all__ = ["add_arguments", "check", "kinds_of", "load", "recognise"]

TABLES = (".csv", ".tsv", ".parquet", ".pq")
RECORDS = "records.json"  # in a folder of records
SETTINGS = ("data.yaml", "data.yml", "dataset.yaml")
# Form: how it is called in the line that says what was recognised.
FORMS = {
    "folders": "a folder of class folders",
    "table": "a table",
    "coco": "a COCO file of boxes",
    "voc": "pictures with XML files of boxes (PASCAL VOC)",
    "yolo": "pictures with text files of boxes (YOLO)",
    "masks": "pictures with masks",
    "records": "records of `keras-transfer convert`",
}
# Option: the forms that it belongs to.
BELONGS = {
    "image_column": ("table",),
    "targets": ("table",),
    "split_column": ("table",),
    "group_column": ("table",),
    "root": ("table", "coco"),
    "masks": ("masks",),
    "ignored": ("masks",),
    "classes": ("coco", "voc", "yolo", "masks"),
}


def add_arguments(group: options.Parser) -> None:
    """Adds the options of sources that are no folders of classes."""
    add = group.add_argument
    image = "column of a table with the names of files, or a pattern like photos/{id}.jpg"
    add("--image-column", metavar="NAME", help=image)
    targets = (
        "what to learn from a table: breed=category age=number, or JSON as for kt.data.from_csv"
    )
    add("--targets", nargs="+", metavar="NAME=KIND", help=targets)
    add("--root", metavar="FOLDER", help="where names of files in a table or a COCO file start")
    add("--split-column", metavar="NAME", help="column of a table: train, validation or test")
    add("--group-column", metavar="NAME", help="column of groups that stay in one split")
    add("--masks", metavar="FOLDER", help="masks of the pictures in FOLDER")
    add("--ignored", type=int, metavar="VALUE", help="of mask pixels that do not count (255)")
    add("--classes", nargs="+", metavar="NAME", help="of boxes or masks, by number")


def recognise(arguments: argparse.Namespace) -> str:
    """Returns the form of what is trained on, one of `FORMS`; reads no file."""
    path = pathlib.Path(arguments.folder).expanduser()
    ending = path.suffix.lower()
    if path.is_file():
        files = {**dict.fromkeys(TABLES, "table"), ".json": "coco", ".yaml": "yolo", ".yml": "yolo"}
        return files.get(ending, "folders")
    if (path / RECORDS).is_file():
        return "records"
    if _option(arguments, "masks") or _holds_all(path, "images", "masks"):
        return "masks"
    if any((path / name).is_file() for name in SETTINGS) or _holds_all(path, "images", "labels"):
        return "yolo"
    places = (path / "Annotations", path, path / "train")
    if any(True for place in places for _ in place.glob("*.xml")):
        return "voc"
    return "folders"


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if options do not belong to the form, or one that it needs is absent."""
    from keras_transfer.core import checks

    form = recognise(arguments)
    path = pathlib.Path(arguments.folder).expanduser()
    for name, forms in BELONGS.items():
        if _option(arguments, name) is not None and form not in forms:
            wanted = " or ".join(FORMS[each] for each in forms)
            option = f"--{name.replace('_', '-')}"
            given = f"'{path}', {FORMS[form]}"
            raise checks.error(f"{option} belongs to {wanted}", given=given)
    if form == "folders":
        options.check_photos(
            arguments.folder,
            test=options.share_or_folder(arguments.test),
            validation=options.share_or_folder(arguments.validation),
        )
    if form == "table":
        for name, example in (("image_column", "file"), ("targets", "breed=category")):
            if _option(arguments, name) is None:
                option = f"--{name.replace('_', '-')}"
                fix = f"Such as {option} {example}."
                raise checks.error(f"{option} must say what is in a table", given="none", fix=fix)
        _targets(arguments)
    if form == "coco" and _option(arguments, "root") is None:
        fix = "Such as --root photos."
        raise checks.error("--root must be the folder of the pictures", given="none", fix=fix)


def load(arguments: argparse.Namespace, shape: tuple) -> "kt.data.Data":
    """Returns the data that the command trains on, for a network whose input has that shape."""
    import keras_transfer as kt
    from keras_transfer.core import checks

    form, path = recognise(arguments), arguments.folder
    common: dict[str, Any] = {
        "test": options.share_or_folder(arguments.test),
        "validation": options.share_or_folder(arguments.validation),
        "image_size": shape[1:3],
        "channels": shape[3],
        "batch_size": arguments.batch_size,
        "seed": arguments.seed,
        "corrupt": "skip" if arguments.skip_corrupt else "error",
    }
    if form == "folders":
        return kt.data.from_folder(path, **common)
    checks.note(f"'{path}' is {FORMS[form]}")
    if form == "records":
        return _load_records(arguments, shape)
    if form == "table":
        return _load_table(arguments, common)
    common["classes"] = _option(arguments, "classes")
    if form == "coco":
        return kt.data.from_coco(path, images=arguments.root, **common)
    if form == "voc":
        return kt.data.from_voc(path, **common)
    if form == "yolo":
        return kt.data.from_yolo(path, **common)
    masks = _option(arguments, "masks")
    folders = (path, masks) if masks else (f"{path}/images", f"{path}/masks")
    ignored = _option(arguments, "ignored")
    if ignored is not None:
        common["ignored"] = ignored
    return kt.data.from_masks(*folders, **common)


def kinds_of(arguments: argparse.Namespace) -> str | dict[str, str]:
    """Returns the kind of the target, or a dict of the kinds of several targets."""
    form = recognise(arguments)
    if form == "table":
        kinds = {}
        for name, description in _targets(arguments).items():
            is_word = isinstance(description, str)
            kinds[name] = description if is_word else next(iter(description))
        return kinds if len(kinds) > 1 else next(iter(kinds.values()))
    if form == "records":
        text = (pathlib.Path(arguments.folder).expanduser() / RECORDS).read_text(encoding="utf-8")
        kinds = json.loads(text)["kinds"]
        return kinds.get("", kinds)
    return {"folders": "category", "masks": "mask"}.get(form, "boxes")


def _load_records(arguments: argparse.Namespace, shape: tuple) -> "kt.data.Data":
    import keras_transfer as kt
    from keras_transfer.core import checks

    data = kt.data.from_records(
        arguments.folder, batch_size=arguments.batch_size, seed=arguments.seed
    )
    if (*data.image_size, data.channels) != tuple(shape[1:]):
        height, width = data.image_size
        given = (
            f"{height}x{width}x{data.channels}, and a network for {'x'.join(map(str, shape[1:]))}"
        )
        fix = f"Add --image-size {height}x{width}, or convert the photos again."
        raise checks.error("images of records must fit the network", given=given, fix=fix)
    return data


def _load_table(arguments: argparse.Namespace, common: dict[str, Any]) -> "kt.data.Data":
    import keras_transfer as kt

    targets = _targets(arguments)
    data = kt.data.from_csv(
        arguments.folder,
        image=arguments.image_column,
        targets=targets,
        root=_option(arguments, "root"),
        split=_option(arguments, "split_column"),
        group=_option(arguments, "group_column"),
        **common,
    )
    if len(targets) > 1:
        return data
    single = data.only(next(iter(targets)))  # a model of one task, as from folders
    single.folder = data.folder
    return single


def _targets(arguments: argparse.Namespace) -> dict[str, Any]:
    """Reads NAME=KIND pairs, or one JSON text."""
    from keras_transfer.core import checks

    expected = "--targets must be pairs like breed=category, or JSON as for kt.data.from_csv"
    words = arguments.targets
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            targets = json.loads(words[0])
        except (ValueError, RecursionError) as broken:
            raise checks.error(expected, given=checks.first_line(broken)) from None
    else:
        pairs = [word.partition("=") for word in words]
        if not all(name and kind for name, _, kind in pairs):
            raise checks.error(expected, given=" ".join(words))
        targets = {name: kind for name, _, kind in pairs}
    for name, description in targets.items():
        if not isinstance(description, str | dict) or not description:
            raise checks.error(expected, given=f"{name}: {description!r}")
    return targets


def _option(arguments: argparse.Namespace, name: str) -> Any:
    """Returns the value of an option, None if the arguments are those of a run that did not have it."""
    return getattr(arguments, name, None)


def _holds_all(folder: pathlib.Path, *names: str) -> bool:
    return all((folder / name).is_dir() for name in names)
