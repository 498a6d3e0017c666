"""Which networks of the catalogue have their pretrained weights on this machine already."""

import os
import pathlib
import re

from keras_transfer.backbones.catalogue import CATALOGUE

__all__ = ["on_this_machine"]

WITHOUT_HEAD = re.compile(r"no[_-]?top(_v\d)?\.h5$")
OTHER_WIDTH = re.compile(r"_(0\.\d+|1\.[34]|2_5|5_0|7_5)_")
# What follows the name of a network in the names of Keras's files.
REST = re.compile(r"(_weights|[_-]no[_-]?top|_\d+_\d|_\d\d\d_|_large_\d\.).*$")


def on_this_machine() -> list[str]:
    """Returns the names of networks whose pretrained weights need no download: "tiny", and those that Keras keeps.

    Keras keeps what it downloads in `~/.keras/models` (or `$KERAS_HOME/models`); a file of that name that was copied
    there counts, too.

    Example:
        >>> "tiny" in on_this_machine()
        True
    """
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    folder = pathlib.Path(home).expanduser() / "models"
    found = {_network_of(file.name) for file in folder.glob("*.h5")}
    return [name for name in CATALOGUE if name == "tiny" or name.lower() in found]


def _network_of(file: str) -> str:
    """Returns the network, in small letters, that a file of Keras has the weights of; "" for another file."""
    if not WITHOUT_HEAD.search(file) or OTHER_WIDTH.search(file):
        return ""
    name = REST.sub("", file.removeprefix("weights_"))
    return re.sub(r"[_-]", "", name).lower()
