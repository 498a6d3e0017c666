"""A report as one self-contained page: what was measured of each task, how the training went, and the run."""

import pathlib
from collections.abc import Mapping, Sequence

from keras_transfer.evaluation import answers
from keras_transfer.evaluation.page import data, results, run, summary, training
from keras_transfer.pages import document

__all__ = ["render"]


def render(
    tasks: Sequence[tuple[str, answers.Result, Mapping]],
    values: Mapping,
    *,
    first_batch: bytes | None = None,
    further: Mapping[str, str] | None = None,
) -> str:
    """Returns the page.

    Args:
        tasks: Name, result and scores as plain values, of each task; the name of a single task may be "".
        values: All numbers, embedded as JSON; `values["about"]` tells about model, data and training.
        first_batch: A JPEG of the first training batch, or None.
        further: HTML of more parts by their headings.

    Example:
        >>> import keras_transfer as kt
        >>> result = answers.Result(kt.tasks.Regression(), {"mae": 0.5}, [])
        >>> page = render([("", result, result.scores)], {"mae": 0.5, "about": {}})
        >>> 'data-metric="mae" data-value="0.5"' in page
        True
    """
    about = values["about"]
    parts = {}
    if "summary" in about:
        parts["Answer"] = summary.part(about["summary"])
    for index, (name, result, scores) in enumerate(tasks):
        parts[name or "Results"] = results.part(index, name, result, scores)
    parts |= further or {}
    baselines = {name: scores["baseline"] for name, _, scores in tasks if "baseline" in scores}
    parts["Training"] = training.part(about, baselines)
    parts["Data"] = data.part(about, first_batch)
    parts["Run"] = run.part(about)
    return document.render(_title(about), parts, subtitle=_subtitle(about), values=values)


def _title(about: Mapping) -> str:
    """Returns the name of the run's folder, or of the images' folder, or of the network."""
    folder = (about.get("training") or {}).get("run_dir") or about.get("data", {}).get("folder")
    if folder:
        return pathlib.PurePath(folder).name or folder
    model = about.get("model", {})
    return model.get("backbone") or model.get("name") or "Report"


def _subtitle(about: Mapping) -> str:
    data, speed = about.get("data", {}), about.get("speed", {})
    parts = []
    if "examples" in data:
        split = f" of the {data['split']} split" if data.get("split") else ""
        folder = f", {data['folder']}" if data.get("folder") else ""
        parts.append(f"{data['examples']:,} images{split}{folder}")
    parts.append(about.get("model", {}).get("backbone") or "")
    if speed.get("images_per_second"):
        parts.append(f"{document.rate(speed['images_per_second'])} images per second")
    parts.append(about.get("created", "").replace("T", " ")[:16])
    return " · ".join(filter(None, parts))
