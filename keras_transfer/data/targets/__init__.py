"""What is learned from an image: one file a kind of target.

One more kind is a file with these, and a row of `KINDS`. Targets are arrays with one row an image.

From a user's labels to targets:

- `reads(labels)`: whether labels, as a user gives them, are of this kind;
- `fill(labels, like, name)`: puts a place-holder where a label is blank, and says which are there;
- `encode(labels, names=, name=)`: checks labels and makes them an array, with the names of classes. A kind that
  `MOVES` also takes `sizes` (a `pictures.Pictures`: how large pictures were and are, so that targets are resized with
  them) and `faults` (a `pictures.Faults`, which gets what is wrong with single targets); one that is read from files
  takes `keep`, and returns a `columns.FileColumn` for paths.

About encoded targets; `holds` must tell the kinds apart by shape and type, names may be None:

- `holds(targets, names)`: whether an encoded array is of this kind;
- `blank(like, count)`: the targets of images without a label, which count with weight 0;
- `join(parts)`: the targets of several arrays, one after the other: how sets are mixed;
- `describe(targets, names)`: what it is, for errors;
- `describe_one(target, names)`: the target of one image, for its caption;
- `tabulate(targets, names)`: rows of the table that `Data.summary` prints, one column a split;
- `stratify(targets)`: ids that splits share out evenly, `(n,)` or `(n, columns)`, -1 where there is nothing to share
  out; or None;
- `count(targets, names)`: how many images each name has, for kinds with names, and `NEEDS_ALL_CLASSES`: whether each
  must have a training image;
- `pack(target)` and `unpack(packed, shape, dtype)`: the target of one image to bytes for a record, and back with
  TensorFlow operations.

To be read and changed everywhere, a kind also has rows in `KINDS` of `data/sources/table_targets.py` (from tables), in
`READERS` of `data/sources/tfds_features.py` (from tensorflow-datasets) and, if it moves, in `KINDS` of
`data/changes/places.py`; `cli/train.py` chooses its task. Without these it comes from arrays only.

`MOVES` says whether targets have places in the picture: they are resized with it, move with it when it is flipped or
cropped, and `draw(place, target, names)` draws one over its picture, on Matplotlib axes.
"""

from types import ModuleType

from keras_transfer.data.targets import boxes, classes, images, masks, numbers, tags

__all__ = ["KINDS"]

# kind: its functions, in the order in which they are asked.
KINDS: dict[str, ModuleType] = {
    "boxes": boxes,
    "mask": masks,
    "image": images,
    "tags": tags,
    "number": numbers,
    "category": classes,
}
