"""`keras-transfer cache`: what is kept on disk of what frozen layers give."""

import argparse

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Says what the command takes."""
    parser.add_argument(
        "--folder", help="where (KERAS_TRANSFER_CACHE, else ~/.cache/keras_transfer)"
    )
    parser.add_argument(
        "--clear", action="store_true", help="remove everything, as far as the options below let it"
    )
    parser.add_argument(
        "--keep-mb", type=float, default=0.0, help="with --clear: megabytes that may stay (0)"
    )
    parser.add_argument(
        "--unused-days", type=float, default=0.0, help="with --clear: what was used since stays (0)"
    )


def main(arguments: argparse.Namespace) -> None:
    """Prints the entries, last used first, or removes them."""
    import keras_transfer as kt
    from keras_transfer.core import checks

    folder = kt.features.CacheFolder(arguments.folder)
    if arguments.clear:
        removed = folder.clear(keep=int(arguments.keep_mb * 1e6), unused_days=arguments.unused_days)
        print(f"keras_transfer: {removed / 1e6:,.1f} MB removed from {folder.path}")
    entries = folder.entries()
    for entry in entries:
        try:
            found = kt.features.load(entry.path)
            what = f"{found.about['examples']:,} rows of {', '.join(found.arrays)}"
        except checks.InputError:
            what = "damaged" if entry.is_finished else "not finished"
        print(
            f"{entry.key}  {entry.bytes / 1e6:>10,.1f} MB  {entry.used.astimezone():%Y-%m-%d %H:%M}  {what}"
        )
    total = sum(entry.bytes for entry in entries)
    print(f"keras_transfer: {len(entries)} kept in {folder.path}, {total / 1e6:,.1f} MB")
