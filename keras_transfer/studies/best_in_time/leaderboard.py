"""What a search has tried, best first: as text, a page, JSON or CSV."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence

from keras_transfer.pages import columns, document, record
from keras_transfer.studies.scores import Score

__all__ = ["Leaderboard", "rank"]

COLUMNS = ("network", "size", "way", "round", "score", "low", "high", "seconds", "parameters")


class Leaderboard(record.Record):
    """The runs of `kt.auto`, best first: a mapping that prints as a table, and saves as a page, JSON or CSV.

    - `["lines"]`: of each run `network`, `size` (height and width of the images), `way` (how it was trained), `round`,
      `score` (None where it could not be measured) and `interval` (95 %) on the validation images, `loss`, `seconds`
      and `parameters`.
    - `["best"]`: the line of the model that was returned.
    - `["skipped"]`: what was not tried, and why.
    - `["conclusions"]`: sentences.

    Args:
        lines: Of the runs that have finished.
        score: By which they are compared.
        skipped: What was not tried: `name` and `why`.
        about: `time_limit`, `seconds` and `refit` (whether the model was trained again on all images), and what else
            the record should hold.

    Example:
        >>> accuracy = Score("accuracy", "accuracy", True, True)
        >>> line = {"network": "tiny", "size": [32, 32], "way": "head only", "round": "head", "score": 0.5}
        >>> line |= {"interval": None, "loss": 1.0, "seconds": 2.0, "parameters": 9}
        >>> about = {"time_limit": 60, "seconds": 9.0, "refit": False}
        >>> leaderboard = Leaderboard([line, {**line, "way": "default", "score": 0.7}], accuracy, about=about)
        >>> leaderboard["best"]["way"]
        'default'
    """

    def __init__(
        self,
        lines: Sequence[Mapping],
        score: Score,
        *,
        skipped: Sequence[Mapping] = (),
        about: Mapping | None = None,
    ) -> None:
        self._score = score
        ordered = [dict(line) for line in rank(lines, score)]
        super().__init__(
            {
                "score": score.name,
                "best": ordered[0],
                "lines": ordered,
                "skipped": [dict(each) for each in skipped],
                "about": dict(about or {}),
            }
        )
        self._values["conclusions"] = self._conclude()

    def __repr__(self) -> str:
        return f"Leaderboard({len(self['lines'])} runs, best {self['best']['network']})"

    def __str__(self) -> str:
        heading = self._heading()
        texts = columns.align([heading, *self._rows()], left=range(len(heading)))
        return "\n".join([*texts, "", *self["conclusions"]])

    def _heading(self) -> tuple[str, ...]:
        title = self._score.title + (", %" if self._score.is_share else "")
        return ("network", "size", "way", "round", title, "95 % interval", "seconds", "parameters")

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for line in self["lines"]:
            bounds = line["interval"]
            within = ""
            if bounds:
                within = " to ".join(self._score.number(bound) for bound in bounds)
            size = "x".join(map(str, dict.fromkeys(line["size"])))
            value = "" if line["score"] is None else self._score.number(line["score"])
            numbers = value, within, f"{line['seconds']:.0f}"
            names = line["network"], size, line["way"], line["round"]
            rows.append((*names, *numbers, f"{line['parameters']:,}"))
        return rows

    def _conclude(self) -> list[str]:
        best, about = self["best"], self["about"]
        networks = {line["network"] for line in self["lines"]}
        tried = (
            f"{columns.count(self['lines'], 'run')} of {columns.count(networks, 'network')} in "
            f"{about.get('seconds', 0):.0f} of {about.get('time_limit', 0):.0f} s"
        )
        value = "not known" if best["score"] is None else self._score.text(best["score"])
        line = (
            f"The best is {best['network']}, {best['way']}: {self._score.title} {value} on the validation images, "
            "which chose it: optimistic"
        )
        end = "The model has the weights of that run"
        if about.get("refit"):
            end = (
                "The model was trained again like that, on training and validation images together"
            )
        lines = [f"{tried}.", f"{line}.", f"{end}."]
        lines += [f"Not tried: {each['name']} ({each['why']})." for each in self["skipped"]]
        return lines

    def to_csv(self) -> str:
        """Returns a line for each run."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for line in self["lines"]:
            low, high = line["interval"] or ("", "")
            values = {**line, "size": "x".join(map(str, line["size"])), "low": low, "high": high}
            writer.writerow([values[name] for name in COLUMNS])
        return file.getvalue()

    def writers(self) -> dict[str, Callable[[], str]]:
        """Returns what makes the text of a file, by its ending."""
        return {**super().writers(), ".csv": self.to_csv}

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself."""
        items = "".join(f"<li>{document.escape(line)}</li>" for line in self["conclusions"])
        answer = document.box("What it comes to", f'<ul class="notes">{items}</ul>')
        table = document.table("The best first.", self._heading(), self._rows())
        settings = [(name.replace("_", " "), each) for name, each in self["about"].items()]
        run = document.box("How it was done", document.table("", ("", ""), settings))
        return document.render(
            "The best model in the time",
            {"Result": answer + document.box("Leaderboard", table), "Run": run},
            subtitle=f"{columns.count(self['lines'], 'run')} · {self['about'].get('seconds', 0):.0f} s",
            values=self.to_dict(),
        )


def rank(lines: Sequence[Mapping], score: Score) -> list[Mapping]:
    """Returns lines, best first: by the score, among equals by the loss; those without a score are the last.

    Example:
        >>> lines = [{"score": 0.5, "loss": 1.0}, {"score": 0.5, "loss": 0.5}]
        >>> rank(lines, Score("accuracy", "accuracy", True, True))[0]["loss"]
        0.5
    """

    def key(line: Mapping) -> tuple[float, float]:
        value, loss = line["score"], line["loss"]
        return (
            math.inf if value is None else -score.sign * value,
            math.inf if loss is None else loss,
        )

    return sorted(lines, key=key)
