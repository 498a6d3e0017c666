"""The history that `fine_tune` returns, as notebooks show it."""

import html
import math

import keras

__all__ = ["History"]

SHOWN = 30  # epochs in the table


class History(keras.callbacks.History):
    """Keras's history with a table of epochs for notebooks; `record` is the run record.

    Example:
        >>> history = History()
        >>> history.epoch, history.history = [0], {"loss": [0.25]}
        >>> "<td>0.25</td>" in history._repr_html_()
        True
    """

    def _repr_html_(self) -> str:
        best = (getattr(self, "record", None) or {}).get("best_epoch")
        rows = []
        for place, epoch in list(enumerate(self.epoch))[-SHOWN:]:
            name = f"{epoch} (best)" if epoch == best else str(epoch)
            values = [_cell(curve[place]) for curve in self.history.values()]
            cells = "".join(f"<td>{value}</td>" for value in (name, *values))
            rows.append(f"<tr>{cells}</tr>")

        titles = "".join(f"<th>{html.escape(name)}</th>" for name in ("epoch", *self.history))
        more = ""
        if len(self.epoch) > SHOWN:
            more = f"<p>the last {SHOWN} of {len(self.epoch)} epochs</p>"
        return f"<table><tr>{titles}</tr>{''.join(rows)}</table>{more}"


def _cell(value: float) -> str:
    """Returns a number as text, nothing where it was not measured."""
    return "" if math.isnan(value) else f"{value:.4g}"
