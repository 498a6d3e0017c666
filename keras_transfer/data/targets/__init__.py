"""What is learned from an image: one file a kind of target.

One more kind is a file with these functions, and a row of `KINDS`:

- `reads(labels)`: whether labels, as a user gives them, are of this kind;
- `fill(labels, like, name)`: puts a place-holder where a label is blank, and says which are there;
- `encode(labels, names, name)`: checks labels and makes them an array, one row an image, with the names of classes;
- `holds(targets, names)`: whether an encoded array is of this kind;
- `describe(targets, names)`: what it is, for errors;
- `describe_one(target, names)`: the target of one image, for its caption;
- `tabulate(targets, names)`: rows of the table that `Data.summary` prints, one column a split;
- `stratify(targets)`: ids that splits share out evenly, `(n,)` or `(n, columns)`, -1 where there is nothing to share
  out; or None;
- `count(targets, names)`: how many images each name has, for kinds with names.
"""

from types import ModuleType

from keras_transfer.data.targets import classes, numbers, tags

__all__ = ["KINDS"]

# kind: its functions, in the order in which they are asked.
KINDS: dict[str, ModuleType] = {"tags": tags, "number": numbers, "category": classes}
