"""A model card in Markdown: what a model is for, its data, numbers and limits, and how to load it."""

import pathlib
import re
from collections.abc import Mapping, Sequence

from keras_transfer.evaluation import answers
from keras_transfer.pages import document

__all__ = ["cost_in_words", "render"]

NAMED = 12  # classes that are listed
WEAKEST = 5
MARKS = re.compile(r"([\\`*_{}\[\]<>#|$~])")  # that Markdown would read as more than text
EXAMPLE = """```python
import keras_transfer as kt

model = kt.load_model("model.keras")
print(kt.predict(model, ["a.jpg"]))
```

`export/1` is the same model as a SavedModel for TensorFlow Serving: it takes the bytes of JPEG and PNG files."""


def render(tasks: Sequence[tuple[str, answers.Result, Mapping]], about: Mapping) -> str:
    """Returns the card.

    Args:
        tasks: Name, result and scores of each; the name of a single one is "".
        about: The facts of the report.

    Example:
        >>> import keras_transfer as kt
        >>> result = answers.Result(kt.tasks.Regression(), {"mae": 0.5, "support": 4}, [])
        >>> render([("", result, result.scores)], {"model": {"backbone": "tiny"}}).splitlines()[6]
        '# tiny'
    """
    parts = [
        _front_matter(tasks, about),
        f"# {_plain(_title(about))}",
        *_purpose(tasks, about),
        "## How good it is",
        *_numbers(tasks, about),
        "## What it learned from",
        *_data(about),
        "## Limits",
        *_limits(tasks),
        "## How to load it",
        EXAMPLE,
        "## How it was made",
        *_making(about),
        "## Licence",
        "Not stated: write the licence here and in the `license` field above. The licences of the pretrained weights "
        "and of the images may bind this model, too.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _front_matter(tasks: Sequence[tuple[str, answers.Result, Mapping]], about: Mapping) -> str:
    """Returns the fields that model hubs read."""
    lines = ["library_name: keras", "license: unknown"]
    pipelines = dict.fromkeys(result.task.pipeline for _, result, _ in tasks)
    tags = ["keras_transfer", *(tag for tag in pipelines if tag)]
    if len(tags) == 2:
        lines.append(f"pipeline_tag: {tags[1]}")
    lines.append(f"tags: [{', '.join(tags)}]")
    return "\n".join(["---", *lines, "---"])


def _title(about: Mapping) -> str:
    record, model = about.get("training") or {}, about.get("model") or {}
    if record.get("run_dir"):
        return pathlib.PurePath(record["run_dir"]).name
    return model.get("backbone") or model.get("name") or "Model"


def _purpose(tasks: Sequence[tuple[str, answers.Result, Mapping]], about: Mapping) -> list[str]:
    """Returns a sentence for each task."""
    model = about.get("model") or {}
    lines = []
    for name, result, _ in tasks:
        kind = result.task.kind.replace("_", " ")
        line = f"**{_plain(name)}**: {kind}" if name else kind.capitalize()
        names = result.task.class_names
        if names:
            shown = ", ".join(_plain(str(each)) for each in names[:NAMED])
            line += f" of {len(names)} classes: {shown}{', …' if len(names) > NAMED else ''}"
        lines.append(f"{line}.")
    if model.get("backbone"):
        weights = (
            f", starting from its {_plain(model['weights'])} weights"
            if model.get("weights")
            else ""
        )
        size = f" ({model['parameters']:,} parameters)" if model.get("parameters") else ""
        lines.append(f"Built on {_plain(model['backbone'])}{size}{weights}.")
    return lines


def _numbers(tasks: Sequence[tuple[str, answers.Result, Mapping]], about: Mapping) -> list[str]:
    """Returns the sentences of the report and a table of scores."""
    sentences = (about.get("summary") or {}).get("answer") or []
    rows = []
    for name, result, scores in tasks:
        for key, value in scores.items():
            if isinstance(value, float):
                title, _ = result.task.headline(key, scores)
                rows.append(f"| {_plain(name)} | {_plain(title)} | {document.number(value)} |")
    measured = about.get("data") or {}
    split = f"the {measured['split']} split" if measured.get("split") else "data that was given"
    images = (
        f"Measured on {measured['examples']:,} images of {split}." if "examples" in measured else ""
    )
    table = "\n".join(["| task | score | value |", "|---|---|---|", *rows])
    return ["\n".join(f"- {_plain(sentence)}" for sentence in sentences), images, table]


def _data(about: Mapping) -> list[str]:
    record, data = about.get("training") or {}, about.get("data") or {}
    lines = []
    if record.get("examples"):
        lines.append(f"{record['examples']:,} training images.")
    for name, table in (record.get("labels") or {}).items():
        counted = [
            f"{_plain(str(label))} {document.number(first)}"
            for label, first, *_ in table["rows"][:NAMED]
        ]
        more = ", …" if len(table["rows"]) > NAMED else ""
        prefix = f"{_plain(name)}: " if name else ""
        lines.append(f"{prefix}{', '.join(counted)}{more}.")
    digest = record.get("digest") or data.get("digest")
    if digest:
        lines.append(f"Digest of images and labels: `{digest}`.")
    return lines or ["Not known to the report."]


def _limits(tasks: Sequence[tuple[str, answers.Result, Mapping]]) -> list[str]:
    """Returns where the model is weak, and what was not measured."""
    lines = ["Meant for images like those it learned from; others were not measured."]
    for _, result, scores in tasks:
        warning = result.task.baseline_warning(scores)
        if warning:
            lines.append(_plain(warning))
        classes = scores.get("classes") or {}
        recalls = [
            (row["recall"], name) for name, row in classes.items() if row.get("recall") is not None
        ]
        if len(recalls) > 2:
            weakest = [
                f"{_plain(name)} ({recall:.2f})" for recall, name in sorted(recalls)[:WEAKEST]
            ]
            lines.append(f"Lowest recall: {', '.join(weakest)}.")
    return ["\n".join(f"- {line}" for line in lines)]


def _making(about: Mapping) -> list[str]:
    """Returns stages, cost, seed and versions; `run.json` has the rest."""
    record = about.get("training") or {}
    lines = []
    for stage in record.get("stages") or ():
        rate = stage.get("rate_in_words", stage.get("learning_rate"))
        how = "solved for" if "solved" in stage else f"learning rate {rate}"
        lines.append(f"- {_plain(str(stage['name']))}: {_plain(how)}")
    if record.get("seconds"):
        lines.append(f"- Training took {cost_in_words(record)}.")
    if record.get("seed") is not None:
        lines.append(f"- Seed {record['seed']}.")
    versions = {**(record.get("versions") or {}), **(about.get("versions") or {})}
    if versions:
        lines.append(f"- {', '.join(f'{name} {value}' for name, value in versions.items())}")
    lines.append("- `args.yaml` and `run.json` have everything that is needed to train it again.")
    return ["\n".join(lines)]


def cost_in_words(record: Mapping) -> str:
    """Returns time and energy of a run in words.

    Example:
        >>> cost_in_words({"seconds": 75.0, "processor_seconds": 120.0})
        '75 s, 120 s of processor time'
    """
    parts = [f"{record['seconds']:,.0f} s"]
    if record.get("processor_seconds"):
        parts.append(f"{record['processor_seconds']:,.0f} s of processor time")
    energy = record.get("energy")
    if energy:
        parts.append(f"about {energy['watt_hours']:.2g} Wh ({energy['from']})")
    return ", ".join(parts)


def _plain(text: str) -> str:
    """Returns text that Markdown takes for nothing else, in one line."""
    return MARKS.sub(r"\\\1", " ".join(str(text).split()))
