"""Errors in the words of the command line: the package speaks of arguments, a command of its options."""

import argparse
import re

__all__ = ["to_options"]

# An argument of the package: the options that may set it, where they have other names; the first one
# that the command has is meant.
OPTIONS = {
    "candidates": ("backbones",),
    "corrupt": ("skip_corrupt",),
    "data": ("images", "folder"),
    "dataset": ("images",),
    "output": ("backbone_output",),
    "annotations": ("folder",),
    "folder": ("others",),
    "group": ("group_column",),
    "image": ("image_column",),
    "images": ("root", "folder"),
    "path": ("folder", "out"),
    "root": ("root", "folder"),
    "run_dir": ("out",),
    "source": ("backbone",),
    "split": ("split_column",),
    "table": ("folder",),
    "to": ("out",),
    "trust": ("trust_backbone",),
}
# `name`, name=value or `name=value`; not name=Value(...), which no option can say
ARGUMENT = re.compile(r"""`(\w+)`|`?\b(\w+)=('[^']*'|"[^"]*"|\([^()]*\)|[\w./]*+(?!\())`?""")


def to_options(text: str, parser: argparse.ArgumentParser) -> str:
    """Replaces the names of arguments by the options of a command; what has no option stays.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> _ = parser.add_argument("--overwrite", action="store_true")
        >>> _ = parser.add_argument("--image-size")
        >>> to_options("`image_size` must be at least 32. Or set `overwrite=True`.", parser)
        '--image-size must be at least 32. Or set --overwrite.'
    """
    actions = {action.dest: action for action in parser._actions}

    def replace(match: re.Match[str]) -> str:
        name, value = match[1] or match[2], re.sub("['\"(),]", "", match[3] or "")
        stop = "." if value.endswith(".") else ""
        options = [option for option in (name, *OPTIONS.get(name, ())) if option in actions]
        action = actions[options[0]] if options else None
        if action is None:
            return match[0]
        if not action.option_strings:
            return str(action.metavar or action.dest.upper())
        if isinstance(action, argparse.BooleanOptionalAction) and value == f"False{stop}":
            return action.option_strings[1] + stop  # --no-refit
        is_switch = action.nargs == 0 or value == ""
        if is_switch:
            return action.option_strings[0] + stop
        return f"{action.option_strings[0]} {value}"

    text = ARGUMENT.sub(replace, text.replace("`data`'s images", "the images"))
    return re.sub(r"\bNone\b", "none", text) if "--weights" in text else text
