"""Targets that have places in the picture: which of a batch do, and how they follow the changes of their pictures.

One more kind is a file with these functions, and a row of `KINDS`:

- `holds(spec)`: whether targets are of this kind;
- `move(values, how)`: their values when pictures are moved;
- `cover(values, patches)`: when a patch of each picture is hidden;
- `cutmix(values, partners, patches)`: when a patch of another picture is put into each;
- `mosaic(values, layout)`: when four pictures become one;
- `mixup(values, partners, shares)`: when pictures are blended; `check_mixing` refuses kinds that cannot be.
"""

from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any  # targets and weights are one thing, or dicts by task

import tensorflow as tf

from keras_transfer.core import checks, labelled
from keras_transfer.data.changes import blending, boxes, planes

__all__ = [
    "KINDS",
    "Kinds",
    "change",
    "check_mixing",
    "check_sizes",
    "find",
    "have_boxes",
    "mix",
    "widen",
]

KINDS: dict[str, ModuleType] = {"boxes": boxes, "planes": planes}

# The kind of each target that moves, by name; one target without a name has the name "".
Kinds = Mapping[str, ModuleType]


def find(targets: Any, names: Collection[str] | None = None) -> dict[str, ModuleType]:
    """Returns the kinds of those targets that move with the picture.

    Args:
        targets: The specs, one or a dict.
        names: Which of a dict have places in the picture; None for all whose form says so.

    Raises:
        InputError: If one of `names` has no form that can be moved.

    Example:
        >>> list(find({"mask": tf.TensorSpec((None, 8, 8), tf.uint8), "age": tf.TensorSpec((None,))}))
        ['mask']
    """
    kinds = {}
    for name, spec in labelled.by_task(targets).items():
        if names is not None and name not in names:
            continue
        kind = _kind_of(spec)
        if kind is not None:
            kinds[name] = kind
        elif names is not None:
            raise checks.error(
                f"{f'target {name!r}' if name else 'targets'} must be boxes (batch, boxes, 6), masks (batch, height, "
                "width) or pictures (batch, height, width, channels) to move with the image",
                given=f"{getattr(spec, 'shape', type(spec).__name__)}",
                fix="Set `augment=None`, or `moves_with_image = False` in the task.",
            )
    return kinds


def find_in(targets: Mapping[str, Any]) -> dict[str, ModuleType]:
    """Returns the kinds of those targets, tensors or arrays by name, that have places in the picture.

    Example:
        >>> list(find_in({"mask": tf.zeros((2, 8, 8), tf.uint8), "age": tf.zeros((2,))}))
        ['mask']
    """
    specs = {
        name: tf.TensorSpec(values.shape, tf.as_dtype(values.dtype))
        for name, values in targets.items()
    }
    return find(specs)


def _kind_of(spec: object) -> ModuleType | None:
    if not isinstance(spec, tf.TensorSpec) or spec.shape.rank is None:
        return None
    return next((kind for kind in KINDS.values() if kind.holds(spec)), None)


def check_sizes(targets: Any, kinds: Kinds, images: tf.TensorSpec) -> None:
    """Raises an error where masks or target pictures have another size than the images.

    Example:
        >>> check_sizes(tf.TensorSpec((None, 8, 8), tf.uint8), {"": planes}, tf.TensorSpec((None, 8, 8, 3)))
    """
    by_task = labelled.by_task(targets)
    for name, kind in kinds.items():
        sides = by_task[name].shape[1:3]
        if kind is planes and not sides.is_compatible_with(images.shape[1:3]):
            height, width = images.shape[1:3]
            raise checks.error(
                f"{f'target {name!r}' if name else 'targets'} must be {height} x {width} pixels, as the images are",
                given=" x ".join(map(str, sides)),
            )


def check_mixing(kinds: Kinds, *, mixup: float) -> None:
    """Raises an error where targets cannot be mixed as their pictures are.

    Example:
        >>> check_mixing({"mask": planes}, mixup=0.0)
    """
    for name, kind in kinds.items():
        if mixup and kind is planes:
            raise checks.error(
                "`mixup` must be 0 where targets are masks or pictures: a pixel cannot be of two",
                given=f"{mixup:g}" + (f" and {name!r}" if name else ""),
                fix="Use `cutmix` or `mosaic`.",
            )


def change(targets: Any, kinds: Kinds, verb: Callable[[ModuleType, tf.Tensor], tf.Tensor]) -> Any:
    """Returns the targets, those that move changed by `verb(kind, values)`.

    Example:
        >>> masks = {"mask": tf.zeros((1, 1, 2), tf.uint8), "age": tf.zeros((1,))}
        >>> patches = tf.constant([[0, 0, 1, 1]])
        >>> hidden = change(masks, {"mask": planes}, lambda kind, values: kind.cover(values, patches))
        >>> hidden["mask"].numpy().tolist()
        [[[255, 0]]]
    """
    if not isinstance(targets, Mapping):
        return verb(kinds[""], targets) if kinds else targets
    return {
        name: verb(kinds[name], values) if name in kinds else values
        for name, values in targets.items()
    }


def mix(
    targets: Any,
    weights: Any,
    kinds: Kinds,
    parts: blending.Parts,
    verb: Callable[[ModuleType, tf.Tensor], tf.Tensor],
    *,
    classes: Any = None,
) -> tuple[Any, Any]:
    """Mixes the targets of a batch as its pictures were.

    A mixture has no label (weight 0) of boxes or target pictures as soon as a part of it has none: what is not marked
    there would count as background. Of masks and depths, pixels without label are not known in any case.

    Args:
        targets: One, or a dict.
        weights: None, a weight an example, or a dict of these.
        kinds: From `find`.
        parts: What mixtures are made of.
        verb: As for `change`: mixes a target that moves.
        classes: As for `blending.mix_targets`; a dict where targets are.

    Returns:
        Targets and weights.

    Example:
        >>> parts = blending.pair([1, 0], tf.constant([0.75, 0.5]))
        >>> ages = {"age": tf.constant([10.0, 30.0])}
        >>> mix(ages, None, {}, parts, None)[0]["age"].numpy().tolist()
        [15.0, 20.0]
    """
    mixed, new = {}, {}
    for name, values in labelled.by_task(targets).items():
        own = labelled.of_task(weights, name)
        if name not in kinds:
            count = labelled.of_task(classes, name)
            mixed[name], new[name] = blending.mix_targets(values, own, parts, classes=count)
            continue
        mixed[name] = verb(kinds[name], values)
        if own is not None:
            need_all = kinds[name] is boxes or not planes.has_unknown(values)
            new[name] = blending.mix_weights(own, parts, need_all=need_all)
    if not isinstance(targets, Mapping):
        return mixed[""], new.get("")
    if isinstance(weights, Mapping):
        return mixed, {name: new[name] for name in weights}
    if weights is None:
        return mixed, None
    # One weight for all targets is 0 where any of them has no label.
    return mixed, tf.reduce_min(tf.stack(list(new.values())), axis=0)


def have_boxes(kinds: Kinds) -> bool:
    """Whether boxes are among the targets.

    Example:
        >>> have_boxes({"mask": planes})
        False
    """
    return boxes in kinds.values()


def widen(kind: ModuleType, values: tf.Tensor, times: int) -> tf.Tensor:
    """Returns boxes with room for those of `times` as many pictures; other targets as they are.

    Example:
        >>> widen(boxes, tf.zeros((2, 3, 6)), times=2).shape
        TensorShape([2, 6, 6])
    """
    return boxes.pad(values, times) if kind is boxes else values
