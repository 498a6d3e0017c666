"""Makes paths of layers and variables: "backbone/block5_conv1" and "backbone/block5_conv1/kernel".

Keras does not prefix the variables of a nested model with the model's name, and two nested models may hold layers of
one name. The paths made here are unique and follow the nesting; all patterns are matched against them.
"""

import fnmatch
from collections.abc import Iterable, Iterator

import keras

from keras_transfer.core import checks, lookup

__all__ = ["free_name", "leaves", "match", "variables"]


def _children(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the direct sublayers, in call order if the layer has a graph."""
    if isinstance(layer, keras.Sequential):
        return list(layer.layers)
    if isinstance(layer, keras.Model) and hasattr(layer, "operations"):
        operations = layer.operations
        return [operation for operation in operations if isinstance(operation, keras.layers.Layer)]
    return list(layer._flatten_layers(include_self=False, recursive=False))


def _is_leaf(layer: keras.layers.Layer, children: list[keras.layers.Layer]) -> bool:
    """Whether a layer has no children, or weights beside theirs."""
    in_children = {id(variable) for child in children for variable in child.variables}
    return not children or any(id(variable) not in in_children for variable in layer.weights)


def _walk(layer: keras.layers.Layer, prefix: str) -> Iterator[tuple[str, keras.layers.Layer]]:
    for child in _children(layer):
        path = f"{prefix}{child.name}"
        if _is_leaf(child, _children(child)):
            yield path, child
        else:
            yield from _walk(child, f"{path}/")


def leaves(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Returns every innermost layer of `model` by its path, inputs first.

    A layer is innermost if it holds no layers, or has weights beside those of its layers. A shared layer is listed
    once, at its first path.

    Example:
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")], name="inner")
        >>> list(leaves(keras.Sequential([inner, keras.layers.Dense(1, name="head")])))
        ['inner/dense', 'head']
    """
    paths: dict[int, str] = {}
    layers = {}
    for path, layer in _walk(model, ""):
        if paths.setdefault(id(layer), path) == path:
            layers[path] = layer
    return layers


def variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns every weight of `model`, trainable or not, by its path.

    Example:
        >>> list(variables(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])))
        ['dense/kernel', 'dense/bias']
    """
    by_path = {}
    for path, layer in leaves(model).items():
        for variable in layer.weights:
            # Keras's own path is "<layer>/<...>/<variable>"; the part after the layer's name is unique in the layer.
            _, _, inside = f"/{variable.path}".rpartition(f"/{layer.name}/")
            by_path[f"{path}/{inside or variable.name}"] = variable
    return by_path


def match(
    paths: Iterable[str], pattern: str | Iterable[str], *, argument: str, what: str = "a layer"
) -> list[str]:
    """Returns the paths that match a shell pattern, or one of several, in their own order.

    A pattern matches a whole path, or its end after a slash: "block5*" matches "backbone/block5_conv1".

    Args:
        paths: The candidates.
        pattern: One pattern or several, with the wildcards `*`, `?` and `[abc]`.
        argument: The name of the user's argument, for the error.
        what: What the paths stand for, for the error.

    Raises:
        InputError: If a pattern matches nothing; the error shows close paths.

    Example:
        >>> match(["stem", "trunk/block1_conv", "trunk/block2_conv"], "block*", argument="unfreeze")
        ['trunk/block1_conv', 'trunk/block2_conv']
    """
    paths = list(paths)
    matches = set()
    for one in [pattern] if isinstance(pattern, str) else list(pattern):
        matching = {path for path in paths if fnmatch.fnmatchcase(f"/{path}", f"*/{one}")}
        if not matching:
            names = [path.rpartition("/")[2] for path in paths]
            near = lookup.close(one.rstrip("*"), [*paths, *names])
            fix = ""
            if near:
                fix = f"Close: {', '.join(map(repr, near))}."
            elif paths:
                fix = f"The last one is {paths[-1]!r}."
            raise checks.error(f"`{argument}` must match {what}", given=repr(one), fix=fix)
        matches |= matching
    return [path for path in paths if path in matches]


def free_name(name: str, taken: Iterable[str]) -> str:
    """Returns `name`, with a number behind it if that is taken.

    Example:
        >>> free_name("image", ["image", "image_1"])
        'image_2'
    """
    taken = set(taken)
    free, number = name, 0
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
