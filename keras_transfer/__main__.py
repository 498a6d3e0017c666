"""`python -m keras_transfer` is `keras-transfer`."""

from keras_transfer.cli import run

if __name__ == "__main__":
    run()
