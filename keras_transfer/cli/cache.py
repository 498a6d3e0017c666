"""`keras-transfer cache`: lists or deletes the outputs of frozen layers that are stored on disk."""

import argparse

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--folder", help="the cache (default: KERAS_TRANSFER_CACHE, else ~/.cache/keras_transfer)"
    )
    parser.add_argument(
        "--clear",
        action="store_true",
        help="delete all entries, but for what the options below keep",
    )
    parser.add_argument(
        "--keep-mb",
        type=float,
        default=0.0,
        help="with --clear: keep the most recently used entries up to so many megabytes (0)",
    )
    parser.add_argument(
        "--unused-days",
        type=float,
        default=0.0,
        help="with --clear: keep entries used within so many days (0)",
    )


def main(arguments: argparse.Namespace) -> None:
    """Deletes entries if asked to, and prints those that are left, last used first."""
    import keras_transfer as kt
    from keras_transfer.core import checks

    folder = kt.features.CacheFolder(arguments.folder)
    if arguments.clear:
        removed = folder.clear(keep=int(arguments.keep_mb * 1e6), unused_days=arguments.unused_days)
        print(f"keras_transfer: {removed / 1e6:,.1f} MB removed from {folder.path}")
    entries = folder.entries()
    for entry in entries:
        try:
            features = kt.features.load(entry.path)
            content = f"{features.about['examples']:,} rows of {', '.join(features.arrays)}"
        except checks.InputError:
            content = "damaged" if entry.is_finished else "not finished"
        size, used = f"{entry.bytes / 1e6:>10,.1f} MB", f"{entry.used.astimezone():%Y-%m-%d %H:%M}"
        print(f"{entry.key}  {size}  {used}  {content}")
    total = sum(entry.bytes for entry in entries)
    noun = "entry" if len(entries) == 1 else "entries"
    print(f"keras_transfer: {len(entries)} {noun} in {folder.path}, {total / 1e6:,.1f} MB")
