"""Own paths of layers and variables: "backbone/block5_conv1" and "backbone/block5_conv1/kernel".

Keras does not prefix the variables of a nested model with that model's name, and two nested
models may hold layers of one name. The paths here are unique, follow the nesting, and are the
only thing that patterns are matched against.
"""

import fnmatch
from collections.abc import Iterable, Iterator

import keras

from keras_transfer.core import checks, lookup

__all__ = ["leaves", "match", "variables"]


def _children(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The direct sublayers, in call order where the layer has a graph."""
    if isinstance(layer, keras.Sequential):
        return list(layer.layers)
    if isinstance(layer, keras.Model) and hasattr(layer, "operations"):
        return [
            operation for operation in layer.operations if isinstance(operation, keras.layers.Layer)
        ]
    return list(layer._flatten_layers(include_self=False, recursive=False))


def _is_leaf(layer: keras.layers.Layer, children: list[keras.layers.Layer]) -> bool:
    """Whether freezing `layer` through its children would miss something: no children, or weights of its own."""
    below = {id(variable) for child in children for variable in child.variables}
    return not children or any(id(variable) not in below for variable in layer.weights)


def _walk(layer: keras.layers.Layer, prefix: str) -> Iterator[tuple[str, keras.layers.Layer]]:
    for child in _children(layer):
        path = f"{prefix}{child.name}"
        grandchildren = _children(child)
        if _is_leaf(child, grandchildren):
            yield path, child
        else:
            yield from _walk(child, f"{path}/")


def leaves(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Returns every innermost layer of `model` by its path, inputs first.

    A layer is innermost when it holds no layers, or holds weights beside those of its layers.
    One that is reached on two ways (a shared layer) is listed once, at its first path.

    Example:
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")], name="inner")
        >>> list(leaves(keras.Sequential([inner, keras.layers.Dense(1, name="head")])))
        ['inner/dense', 'head']
    """
    found, seen = {}, set()
    for path, layer in _walk(model, ""):
        if id(layer) not in seen:
            seen.add(id(layer))
            found[path] = layer
    return found


def variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns every weight of `model` (trainable or not) by its path.

    Example:
        >>> list(variables(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])))
        ['dense/kernel', 'dense/bias']
    """
    found = {}
    for path, layer in leaves(model).items():
        for variable in layer.weights:
            # Keras's own path is "<layer>/<...>/<variable>"; what follows the layer's name is unique within it.
            _, _, inside = f"/{variable.path}".rpartition(f"/{layer.name}/")
            found[f"{path}/{inside or variable.name}"] = variable
    return found


def match(
    paths: Iterable[str], pattern: str | Iterable[str], *, argument: str, what: str = "a layer"
) -> list[str]:
    """Returns the paths that match a shell pattern, or one of several, in their own order.

    A pattern matches a whole path or its end after a slash: "block5*" finds "backbone/block5_conv1".

    Args:
        paths: The candidates.
        pattern: One pattern or several; `*`, `?` and `[abc]` are wild.
        argument: The name of the user's argument, for the error.
        what: What the paths are, for the error.

    Raises:
        InputError: If a pattern matches nothing; the error shows close paths.

    Example:
        >>> match(["stem", "trunk/block1_conv", "trunk/block2_conv"], "block*", argument="unfreeze")
        ['trunk/block1_conv', 'trunk/block2_conv']
    """
    paths = list(paths)
    hits = set()
    for one in [pattern] if isinstance(pattern, str) else list(pattern):
        matching = {path for path in paths if fnmatch.fnmatchcase(f"/{path}", f"*/{one}")}
        if not matching:
            near = lookup.close(
                one.rstrip("*"), [*paths, *(path.rpartition("/")[2] for path in paths)]
            )
            fix = (
                f"Close: {', '.join(map(repr, near))}."
                if near
                else f"The last one is {paths[-1]!r}."
                if paths
                else ""
            )
            raise checks.error(f"`{argument}` must match {what}", given=repr(one), fix=fix)
        hits |= matching
    return [path for path in paths if path in hits]
