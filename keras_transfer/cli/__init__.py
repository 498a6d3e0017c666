"""The command `keras-transfer`; nothing heavy is imported before a command runs."""

from keras_transfer.cli.main import run

__all__ = ["run"]
