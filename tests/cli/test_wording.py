"""Errors in the words of the command line."""

import argparse

import pytest

from keras_transfer.cli import train, wording


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`image_size` must be at least 32", "--image-size must be at least 32"),
        ("`source` must be a known name", "--backbone must be a known name"),
        ("`folder` must exist", "FOLDER must exist"),
        ("`run_dir` must be new, or set `resume=True`.", "--out must be new, or set --resume."),
        ("Pass trust=True if you trust it.", "Pass --trust-backbone if you trust it."),
        ("Choose another output with `output=`.", "Choose another output with --backbone-output."),
        ("or pass weights='a/b.h5'; weights=None", "or pass --weights a/b.h5; --weights none"),
        ("Set `test=0.2`.", "Set --test 0.2."),
        ('leave them out with `corrupt="skip"`.', "leave them out with --skip-corrupt."),
        ("`weights` must be 'pretrained' or None", "--weights must be 'pretrained' or none"),
        ("epochs=(1, 12) chosen.", "--epochs 1 12 chosen."),
        ("augment=Augment(flip=True) chosen.", "augment=Augment(flip=True) chosen."),
        ("or use batch_norm='inference'.", "or use --batch-norm inference."),
        ("or use `refit=False`.", "or use --no-refit."),
        ("about 5 min; skip with refit=False.", "about 5 min; skip with --no-refit."),
        ("the same call with resume=True.", "the same call with --resume."),
        ("`labels` must lie in [0, 5). `x=1`", "`labels` must lie in [0, 5). `x=1`"),
    ],
)
def test_arguments_become_options_of_the_command(text, expected):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    assert wording.to_options(text, parser) == expected


def test_a_path_is_the_folder_of_a_command_that_has_one():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    assert wording.to_options("`path` must exist", parser) == "--out must exist"
    parser.add_argument("folder", metavar="FOLDER")
    assert wording.to_options("`path` must exist", parser) == "FOLDER must exist"
