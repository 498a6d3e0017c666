"""The result of a ranking of backbones: orders by scores, by size and by short trainings, conclusions, a page."""

import csv
import datetime
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from keras_transfer.features import SCORES
from keras_transfer.pages import columns, document, plots, record
from keras_transfer.studies import chance, pictures
from keras_transfer.studies.scores import Score

__all__ = ["Ranking", "agreement"]

LEAST = 3  # finalists from which agreement says something
CLOSE = 0.03  # a network that is behind by less than this share is told of if it is much quicker
QUICK = 0.7


class Ranking(record.Record):
    """Candidates in order, best first: a mapping that prints as a table, and saves as a page, as JSON or as CSV.

    - `["best"]`: the name of the first.
    - `["rows"]`: a dict a candidate: `name`, `place` (None for one that is left out), `reason` (why it is), `scores`,
      `place_by_scores` (mean rank), `place_by_size`, `rounds` (validation scores of short trainings, one more a round
      that it was in), `intervals` (of these scores; None for one that has none), `parameters`, `latency_ms`, `memory`
      (bytes for one image), `is_random`.
    - `["agreement"]`: Kendall's tau of the order by `scores` and by `size` with the first round's scores; None with
      fewer than three finalists.
    - `["conclusions"]`: sentences.

    Args:
        rows: A dict a candidate, without places.
        score: Of the short trainings.
        names: The scores of features that were asked for.
        seed: Of what was drawn.
        images: How many validation images the short trainings were measured on.

    Example:
        >>> rows = [
        ...     {"name": name, "reason": "", "scores": {"probe": value}, "rounds": [], "parameters": size,
        ...      "latency_ms": 1.0, "memory": 4, "is_random": False}
        ...     for name, value, size in (("a", 0.5, 10), ("b", 0.6, 5))
        ... ]
        >>> ranking = Ranking(rows, Score("accuracy", "accuracy", True, True), ["probe"])
        >>> ranking["best"], [row["place_by_size"] for row in ranking["rows"]]
        ('b', [2, 1])
    """

    def __init__(
        self,
        rows: Sequence[Mapping],
        score: Score,
        names: Sequence[str],
        *,
        seed: int = 0,
        images: int | None = None,
    ) -> None:
        self._score = score
        usable = [dict(row) for row in rows if not row["reason"]]
        # LEEP and NCE rank only where all have them.
        self._names, shown = [], []
        for name in names:
            scored = [name in row["scores"] for row in usable]
            if all(scored):
                self._names.append(name)
            if any(scored):
                shown.append(name)
        _place(usable, "place_by_size", [-row["parameters"] for row in usable])
        ranks = []
        for name in self._names:
            ranks.append(stats.rankdata([-row["scores"][name] for row in usable]))
        means = np.mean(ranks, axis=0) if ranks else [row["place_by_size"] for row in usable]
        _place(usable, "place_by_scores", list(means))

        usable.sort(key=lambda row: row["place_by_scores"])
        for at in range(max((len(row["rounds"]) for row in usable), default=0)):
            trained = [row for row in usable if len(row["rounds"]) > at]
            others = [row for row in usable if len(row["rounds"]) <= at]
            of_round = functools.partial(_measured, at=at)
            usable = [*chance.pass_by(trained, score, of_round), *others]
        for place, row in enumerate(usable, start=1):
            row["place"] = place
        absent = {"place": None, "place_by_scores": None, "place_by_size": None}
        left_out = [{**row, **absent} for row in rows if row["reason"]]
        created = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        values = {
            "best": usable[0]["name"] if usable else None,
            "score": score.name,
            "rows": [*usable, *left_out],
            "agreement": _agree(usable, score),
            "about": {
                "seed": seed,
                "created": created,
                "scores": shown,
                "validation_images": images,
            },
        }
        super().__init__(values)
        self._values["conclusions"] = self.conclusions()

    @property
    def usable(self) -> list[dict]:
        """The rows of the candidates that are not left out."""
        return [row for row in self["rows"] if not row["reason"]]

    def finalists(self, count: int) -> list[str]:
        """Returns the names of those to fine-tune: the best by scores, and the largest pretrained one.

        Example:
            >>> Ranking([], Score("accuracy", "accuracy", True, True), []).finalists(4)
            []
        """
        order = sorted(self.usable, key=lambda row: row["place_by_scores"])
        names = [row["name"] for row in order[:count]]
        by_size = sorted(self.usable, key=lambda row: row["place_by_size"])
        largest = next((row["name"] for row in by_size if not row["is_random"]), None)
        if count > 1 and largest is not None and largest not in names:
            names[-1] = largest
        return names

    def __repr__(self) -> str:
        return f"Ranking({', '.join(row['name'] for row in self['rows'])})"

    def __str__(self) -> str:
        lines = columns.align([self._heading(), *self._table()])
        for row in self["rows"]:
            if row["reason"]:
                lines.append(f"left out: {row['name']}: {row['reason']}")
        return "\n".join([*lines, "", *self["conclusions"]])

    def conclusions(self) -> list[str]:
        """Returns the conclusions, in sentences."""
        usable, found = self.usable, self["agreement"]
        if not usable:
            return ["no candidate can be used"]
        best, lines = usable[0], []
        how = "by scores"
        if best["rounds"]:
            how = f"by {columns.count(best['rounds'], 'round')} of short trainings, from one seed"
        lines.append(f"{best['name']} is the first {how}")
        if len(usable) > 1 and usable[1]["rounds"]:
            lines += self._doubt(best, usable[1])
        if len(usable) > 1:
            lines.append(self._compare_with_size(usable, found))
        smaller = [row for row in usable[1:] if row["rounds"] and best["rounds"]]
        for row in smaller:
            shared = min(len(row["rounds"]), len(best["rounds"])) - 1
            behind = self._score.sign * (best["rounds"][shared] - row["rounds"][shared])
            is_close = behind <= CLOSE * (1 if self._score.is_share else abs(best["rounds"][-1]))
            if is_close and row["latency_ms"] < QUICK * best["latency_ms"]:
                share = row["latency_ms"] / best["latency_ms"]
                where = "behind" if behind >= 0 else "ahead"
                lines.append(
                    f"{row['name']} takes {share:.2f} of its time an image and was "
                    f"{self._score.difference(abs(behind))} {where} when both were last trained alike"
                )
        return lines

    def _doubt(self, best: Mapping, second: Mapping) -> list[str]:
        """Returns a sentence where chance alone may have made the difference of two trained networks."""
        last = min(len(best["rounds"]), len(second["rounds"])) - 1
        score, one, other = self._score, _measured(best, last), _measured(second, last)
        if chance.beats(score, one, other):
            return []
        possible = chance.largest_difference(one, other)
        images = self["about"]["validation_images"]
        where = f"on {images:,} validation images" if images else "on the validation images"
        names = f"{best['name']} and {second['name']} cannot be told apart {where}"
        line = (
            f"{names}: their {score.title} is {score.text(one.value)} and {score.text(other.value)}"
        )
        if possible:
            line += f", and chance alone makes differences of up to {score.difference(possible)}"
        return [f"{line}; so they keep the order that they had before"]

    def _compare_with_size(self, usable: Sequence[Mapping], found: Mapping | None) -> str:
        if found is not None:
            both = f"(Kendall {found['scores']:.2f} against {found['size']:.2f})"
            if found["scores"] > found["size"]:
                return f"the scores agree better with training than the order by size {both}"
            return (
                f"the scores do not beat the order by size {both}: take them as no more than that"
            )
        tau = agreement(
            [row["place_by_scores"] for row in usable], [row["place_by_size"] for row in usable]
        )
        if tau == 1:
            return "the order by scores is that by size: the scores add nothing to it"
        return (
            f"the order by scores differs from that by size (Kendall {tau:.2f}); which one is right "
            f"is not known: {LEAST} finalists or more would say"
        )

    def _heading(self) -> tuple[str, ...]:
        unit = ", %" if self._score.is_share else ""
        return (
            "network", "place", f"trained: {self._score.title}{unit}",
            *self["about"]["scores"], "by scores", "by size", "parameters", "ms an image", "MB",
        )  # fmt: skip

    def _table(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for row in self.usable:
            trained = " → ".join(self._score.number(value) for value in row["rounds"])
            values = [row["scores"].get(name) for name in self["about"]["scores"]]
            cells = ["" if value is None else f"{value:.3f}" for value in values]
            rows.append(
                (
                    row["name"] + (" (random)" if row["is_random"] else ""),
                    str(row["place"]),
                    trained,
                    *cells,
                    str(row["place_by_scores"]),
                    str(row["place_by_size"]),
                    f"{row['parameters']:,}",
                    f"{row['latency_ms']:.1f}",
                    f"{row['memory'] / 1e6:.0f}",
                )
            )
        return rows

    def to_csv(self) -> str:
        """Returns a line for each candidate."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        plain = ("place", "name", "place_by_scores", "place_by_size", "parameters", "latency_ms")
        names = self["about"]["scores"]
        writer.writerow([*plain, "memory", *names, "rounds", "reason"])
        for row in self["rows"]:
            rounds = " ".join(map(str, row["rounds"]))
            own = [row["scores"].get(name) for name in names]
            writer.writerow(
                [*(row[key] for key in plain), row["memory"], *own, rounds, row["reason"]]
            )
        return file.getvalue()

    def writers(self) -> dict[str, Callable[[], str]]:
        """Returns what makes the text of a file, by its ending."""
        return {**super().writers(), ".csv": self.to_csv}

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself."""
        items = "".join(f"<li>{document.escape(line)}</li>" for line in self["conclusions"])
        titles = {name: SCORES[name].title for name in self["about"]["scores"]}
        heading = [titles.get(name, name) for name in self._heading()]
        caption = "Best first. Scores of features: more is better. Places: 1 is the best."
        parts = [
            document.box("What it comes to", f'<ul class="notes">{items}</ul>'),
            document.box("Each network", document.table(caption, heading, self._table())),
        ]
        if self.usable:
            drawn = plots.svg(self._draw(), name="ranking", label="Score against size")
            parts.append(document.box("Against size", f"<figure>{drawn}</figure>"))
        out = [(row["name"], row["reason"]) for row in self["rows"] if row["reason"]]
        if out:
            table = document.table("", ("network", "why"), out)
            parts.append(document.box("Left out", table))
        created = self["about"]["created"][:16].replace("T", " ")
        return document.render(
            "Which network?",
            {"Ranking": "".join(parts)},
            subtitle=f"{columns.count(self.usable, 'network')} · {created}",
            values=self.to_dict(),
        )

    def _draw(self) -> Any:
        names = self._names
        first = names[0] if names else None
        points = []
        for row in self.usable:
            rough = None if first is None else row["scores"][first]
            trained = row["rounds"][-1] if row["rounds"] else None
            points.append((row["name"], row["parameters"], rough, trained))
        title = SCORES[first].title if first else ""
        return pictures.against_size(points, self._score, rough=title)


def agreement(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns Kendall's tau of two orders: 1 for the same, -1 for the opposite, 0 where nothing can be said.

    Example:
        >>> agreement([1, 2, 3], [1, 3, 2])
        0.333...
    """
    tau = stats.kendalltau(one, other).statistic
    return float(tau) if np.isfinite(tau) else 0.0


def _measured(row: Mapping, at: int) -> chance.Measured:
    """Returns what a round of short trainings gave."""
    intervals = row.get("intervals") or [None] * len(row["rounds"])
    return chance.Measured(row["rounds"][at], intervals[at])


def _place(rows: list[dict], key: str, values: Sequence[float]) -> None:
    """Gives each row its place by a value, the smallest first; of equals the one that was named first."""
    for place, at in enumerate(np.argsort(values, kind="stable"), start=1):
        rows[at][key] = place


def _agree(rows: Sequence[Mapping], score: Score) -> dict[str, float] | None:
    trained = [row for row in rows if row["rounds"]]
    if len(trained) < LEAST:
        return None
    first = [score.sign * row["rounds"][0] for row in trained]
    return {
        "scores": agreement(first, [-row["place_by_scores"] for row in trained]),
        "size": agreement(first, [-row["place_by_size"] for row in trained]),
    }
