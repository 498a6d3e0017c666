"""`kt.compare_blocks`: what each block of a trunk tells of a task, and what training changed there."""

from typing import Any

import keras
import numpy as np

from keras_transfer.core import checks
from keras_transfer.evaluation.representation import looking
from keras_transfer.features import block_probes, similarity
from keras_transfer.pages import columns, document, record

__all__ = ["BlockComparison", "compare_blocks"]

LEAST = 20  # images


def compare_blocks(
    model: keras.Model,
    data: Any,
    *,
    before: keras.Model | None = None,
    task: str | None = None,
    split: str = "train",
    images: int = 2000,
    seed: int = 0,
    verbose: str | int = "auto",
) -> "BlockComparison":
    """Asks at the end of each block of a trunk how well a linear model could answer, and how far training moved it.

    Where a linear model reads less from a block than from the one below, the block forgot something that the task
    needs: train from there on. `unfreeze` is that block, for `kt.fine_tune(..., unfreeze=...)`, as the plan "surgical"
    and others take it.

    Args:
        model: From `kt.build_model`, a backbone, or a network of your own.
        data: With labels, as for `kt.features.extract`.
        before: The same network before training, such as `kt.backbone("tiny")`, to compare with.
        task: Whose labels, where there are several.
        split: Of data from `kt.data`; probes are scored on images of it that they were not fitted to.
        images: How many, drawn at random.
        seed: Of the draw.
        verbose: As for `kt.predict`.

    Returns:
        A row for each block, bottom to top: `comparison.rows`; prints as a table, saves as a page or as JSON.

    Raises:
        InputError: If there are no labels, too few images, or `before` has other blocks.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.glyphs(3, 20, validation=None)
        >>> comparison = compare_blocks(kt.backbone("tiny", weights=None), data)
        >>> [row["block"] for row in comparison["blocks"]]
        ['stem', 'block1', 'block2', 'block3', 'block4']
    """
    checks.integer(images, name="images", minimum=LEAST)
    ends = {"": block_probes.block_ends(model)}
    models = {"": model}
    if before is not None:
        models["before"], ends["before"] = before, block_probes.block_ends(before)
        if list(ends["before"]) != list(ends[""]):
            expected = f"`before` must have the blocks of `model`: {', '.join(ends[''])}"
            raise checks.error(expected, given=", ".join(ends["before"]))

    layers = {title: list(of_model.values()) for title, of_model in ends.items()}
    seen = looking.look(
        models,
        data,
        layers=layers,
        task=task,
        split=split,
        most=images,
        side=0,
        seed=seed,
        verbose=verbose,
    )
    if seen.labels is None:
        given = "none, or boxes or maps"
        raise checks.error("`data` must have a class or numbers for each image", given=given)
    known = seen.known
    if known.sum() < LEAST:
        raise checks.error(f"`data` must have at least {LEAST} labelled images", given=known.sum())
    labels = seen.labels[known]
    rows = []
    for block in ends[""]:
        after = seen.features[""][ends[""][block]][known]
        row: dict[str, Any] = {"block": block, **block_probes.measure(after, labels)}
        if before is not None:
            earlier = seen.features["before"][ends["before"][block]][known]
            probed = block_probes.measure(earlier, labels)
            alike = similarity.cka(earlier, after)
            row |= {"before": probed["score"], "cka": alike if np.isfinite(alike) else None}
        rows.append(row)
    score = "accuracy" if seen.class_names is not None else "R²"
    return BlockComparison(rows, images=len(labels), score=score, model=model.name)


class BlockComparison(record.Record):
    """A row for each block of a trunk, bottom to top.

    `comparison["blocks"]` are dicts: `block`, `score` of a linear model on the block's features averaged over places,
    its `deviation`, the score by `chance`; where two networks were compared also the score `before` and `cka`, how
    alike the features before and after are, from 0 to 1.

    Args:
        rows: The dicts.
        images: How many were looked at.
        score: What the scores are.
        model: The network's name.

    Example:
        >>> rows = [{"block": "a", "score": 0.9, "deviation": 0.01, "chance": 0.5}]
        >>> rows.append({"block": "b", "score": 0.7, "deviation": 0.01, "chance": 0.5})
        >>> BlockComparison(rows, images=50, score="accuracy", model="net").unfreeze
        'b'
    """

    def __init__(self, rows: list[dict], *, images: int, score: str, model: str) -> None:
        super().__init__(
            {
                "model": model,
                "images": images,
                "score": score,
                "blocks": rows,
                "unfreeze": block_probes.recommend(rows),
            }
        )

    @property
    def unfreeze(self) -> str:
        """The lowest block to train: above it, less of what the task needs is left, or no more is added."""
        return self["unfreeze"]

    def _table(self) -> tuple[list[str], list[list[str]]]:
        names = {"score": self["score"], "before": f"{self['score']} before", "cka": "alike (CKA)"}
        keys = [key for key in names if key in self["blocks"][0]]
        table = []
        for row in self["blocks"]:
            table.append([row["block"], *(document.number(row[key]) for key in keys)])
        return ["block", *(names[key] for key in keys)], table

    def __str__(self) -> str:
        titles, table = self._table()
        lines = columns.align([titles, *table])
        return "\n".join([*lines, self._sentence()])

    def __repr__(self) -> str:
        return f"BlockComparison({len(self['blocks'])} blocks, unfreeze={self.unfreeze!r})"

    def _sentence(self) -> str:
        chance = document.number(self["blocks"][0]["chance"])
        return (
            f"Linear models on {self['images']:,} images; {self['score']} by chance {chance}. "
            f"Train from {self.unfreeze!r} on: unfreeze={self.unfreeze!r}."
        )

    def part(self) -> str:
        """Returns the table as a part of a page, with a bar for each score."""
        titles, _ = self._table()
        rows = []
        for row in self["blocks"]:
            cells = "".join(
                f'<td class="bar" style="--share:{max(0.0, row[key] or 0):.4f}" data-value="{row[key]}">'
                f"{document.number(row[key])}</td>"
                for key in ("score", "before", "cka")
                if key in row
            )
            rows.append(f'<tr><th scope="row">{document.breakable(row["block"])}</th>{cells}</tr>')
        head = "".join(f'<th scope="col">{document.escape(title)}</th>' for title in titles)
        caption = f"<caption>{document.escape(self._sentence())}</caption>"
        return (
            f'<div class="scroll"><table class="bars">{caption}<thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table></div>"
        )

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself."""
        box = document.box("What a linear model reads from each block", self.part())
        subtitle = f"{self['model']} · {self['images']:,} images"
        return document.render("Blocks", {"Blocks": box}, subtitle=subtitle, values=dict(self))
