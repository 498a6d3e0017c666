"""`kt.doctor`: problems of images, labels and models before they cost a training run.

One more check is a function, in a file for its subject, as `base.py` says, and a row of `CHECKS`. The other files:
`examine` runs the checks on what `cases` makes of the data, `pictures` measures each image once for all of them, and
`findings` and `page` show the results.
"""

from collections.abc import Callable, Iterator

from keras_transfer.studies.doctor import (
    boxes,
    classes,
    colours,
    copies,
    costs,
    groups,
    labels,
    light,
    losses,
    masks,
    networks,
    sharpness,
    sizes,
    sources,
    unreadable,
    values,
)
from keras_transfer.studies.doctor.base import Case, Finding

__all__ = ["CHECKS"]

# name: what looks for the problem. In this order; `groups` uses what `labels` has measured.
CHECKS: dict[str, Callable[[Case], Iterator[Finding]]] = {
    "layout": sources.layout,
    "unreadable": unreadable.check,
    "left_out": sources.left_out,
    "copies": copies.check,
    "few": classes.few,
    "imbalance": classes.imbalanced,
    "constant": classes.constant,
    "sizes": sizes.check,
    "dark": light.dark,
    "bright": light.bright,
    "even": light.even,
    "blurred": sharpness.check,
    "grey": colours.check,
    "degenerate_boxes": boxes.degenerate,
    "outside_boxes": boxes.outside,
    "tiny_boxes": boxes.tiny,
    "unknown_values": masks.unknown,
    "empty_masks": masks.empty,
    "value_range": values.value_range,
    "preprocessing": values.preprocessing,
    "random_backbone": networks.check,
    "loss": losses.check,
    "not_finite": losses.finite,
    "class_names": losses.names,
    "labels": labels.check,
    "costs": costs.check,
    "groups": groups.check,
}
