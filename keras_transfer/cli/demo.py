"""`keras-transfer demo`: few-shot digits, transferred and from scratch, offline."""

import argparse
import functools
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from keras_transfer.cli import options, resuming

__all__ = ["ARMS", "add_arguments", "compare", "main"]

# Name of an arm and what it does, in the order in which they run.
ARMS = {
    "raw pixels": "logistic regression on the 64 grey values",
    "frozen probe": "a linear head on the frozen pretrained network",
    "two-stage": "then the network is fine-tuned, too",
    "scratch": "the same network from random weights, for as many epochs",
}
BATCH = 16
EPOCHS = {"frozen probe": 40, "two-stage": 20, "scratch": 60}
VERIFIED_IMAGES = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "--shots", type=options.positive, default=5, metavar="N", help="training images a digit (5)"
    )
    parser.add_argument(
        "--seeds",
        type=options.positive,
        default=1,
        metavar="N",
        help="how often to repeat, with other training images (1); 3 show the spread",
    )
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("runs/demo"), help="(runs/demo)"
    )


def check(arguments: argparse.Namespace) -> None:
    """Raises an error if nothing can be written."""
    from keras_transfer.storage import files

    files.check_writable(arguments.out, argument="out")


def main(arguments: argparse.Namespace) -> None:
    """Prints a line as each step is done and a table, and leaves a report and a SavedModel of the fine-tuned model."""
    import keras_transfer as kt

    out = arguments.out
    print(
        f"Real 8 x 8 digits from scikit-learn: {arguments.shots} training images of each, all others for the test.\n"
        "The pretrained network has never seen a digit: it learned from characters and scenes that the package draws.",
        flush=True,
    )
    begin = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - begin:4.0f} s  {text}", flush=True)

    scores, model, data = compare(
        shots=arguments.shots,
        seeds=arguments.seeds,
        epochs=EPOCHS,
        out=out,
        say=say,
    )

    model.save(out / "model.keras")
    report = kt.evaluate(model, data)
    report.save(out / "report.html")
    report.save(out / "report.json")
    say(f"report      {out / 'report.html'}")

    kt.export(model, out / "export" / "1", overwrite=True)
    some = data.test.unbatch().take(VERIFIED_IMAGES).batch(32)
    kt.verify(out / "export" / "1", model, some)
    say(f"SavedModel  {out / 'export' / '1'} gives the same answers")
    print(table(scores))


def compare(
    *,
    shots: int,
    seeds: int,
    epochs: Mapping[str, int],
    out: pathlib.Path | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[dict[str, list[float]], Any, Any]:
    """Trains every arm on the same few digits, for each seed.

    Args:
        shots: Training images a digit.
        seeds: How many different choices of training images, and of random weights.
        epochs: Of the probe, of the fine-tuning after it, and of the network from random weights, by name.
        out: Run folder of the last two-stage run.
        say: Takes a line as each arm is done.

    Returns:
        Test accuracies by arm, the model of the last two-stage run, and its data.
    """
    scores: dict[str, list[float]] = {arm: [] for arm in ARMS}

    def record(seed: int, arm: str, accuracy: float) -> None:
        scores[arm].append(accuracy)
        if say is not None:
            name = arm if seeds == 1 else f"{arm}, seed {seed}"
            say(f"{name:<22}{accuracy:>6.1%}  {ARMS[arm]}")

    for seed in range(seeds):
        data, pixels = digits(shots, seed)
        record(seed, "raw pixels", raw_pixels(pixels))

        folder = out if seed == seeds - 1 else None
        model = two_stage(data, seed, epochs, folder, functools.partial(record, seed))
        record(seed, "scratch", scratch(data, seed, epochs["scratch"]))
    return scores, model, data


def table(scores: dict[str, list[float]]) -> str:
    """Returns a table of the arms' mean accuracies, with the lowest and highest of several seeds."""
    has_range = len(scores["scratch"]) > 1
    means = {arm: 100 * sum(values) / len(values) for arm, values in scores.items()}

    lines = [f"{'':<14}{'accuracy':>9}" + f"{'range':>15}" * has_range]
    for arm, meaning in ARMS.items():
        line = f"{arm:<14}{means[arm]:>8.1f}%"
        if has_range:
            spread = f"{100 * min(scores[arm]):.1f} – {100 * max(scores[arm]):.1f}"
            line += f"{spread:>15}"
        lines.append(f"{line}  {meaning}")

    gain = means["two-stage"] - means["scratch"]
    lines += ["", f"Transfer gained {gain:+.1f} points over training from scratch."]
    return "\n".join(["", *lines])


def digits(shots: int, seed: int) -> tuple[object, tuple]:
    """Returns the data for the network, and the raw pixels with labels: (train, labels, test, labels)."""
    import numpy as np
    from sklearn.datasets import load_digits

    import keras_transfer as kt

    bundle = load_digits()
    rng = np.random.default_rng(seed)
    chosen = np.concatenate(
        [rng.permutation(np.flatnonzero(bundle.target == d))[:shots] for d in range(10)]
    )
    others = np.setdiff1d(np.arange(len(bundle.target)), chosen)
    grey = (bundle.images * 255 / 16).round().astype("uint8")  # (n, 8, 8), values 0..16 before
    data = kt.data.from_arrays(
        grey[chosen],
        bundle.target[chosen],
        test=(grey[others], bundle.target[others]),
        validation=0,
        class_names=list("0123456789"),
        image_size=32,
        batch_size=BATCH,
        seed=seed,
    )
    raw = bundle.data / 16
    return data, (raw[chosen], bundle.target[chosen], raw[others], bundle.target[others])


def raw_pixels(parts: tuple) -> float:
    """Test accuracy of logistic regression on the pixels, with the strength that suits the test best."""
    from sklearn.linear_model import LogisticRegression

    images, labels, test_images, test_labels = parts
    strengths = (0.03, 0.1, 0.3, 1, 3, 10)
    return max(
        LogisticRegression(C=c, max_iter=2000).fit(images, labels).score(test_images, test_labels)
        for c in strengths
    )


def scratch(data: Any, seed: int, epochs: int) -> float:
    """Returns the test accuracy of the same network, trained from random weights."""
    import keras

    import keras_transfer as kt

    keras.utils.set_random_seed(seed)
    model = kt.build_model(
        kt.backbone("tiny", weights=None), kt.tasks.Classification(data.class_names)
    )
    stage = kt.Stage(
        epochs=epochs,
        train="all",
        learning_rate=3e-3,
        schedule="cosine",
        batch_norm="train",
    )
    kt.fine_tune(model, data, stages=[stage], seed=seed, verbose=0)
    return _accuracy(model, data)


def two_stage(
    data: Any,
    seed: int,
    epochs: Mapping[str, int],
    out: pathlib.Path | None,
    record: Callable[[str, float], None],
) -> object:
    """Trains a head on the frozen network, then all of it, and records the test accuracy after each.

    Returns:
        The fine-tuned model.
    """
    import keras

    import keras_transfer as kt

    keras.utils.set_random_seed(seed)
    model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(data.class_names))
    stages = [
        kt.Stage(
            epochs=epochs["frozen probe"], train="head", learning_rate=3e-3, schedule="cosine"
        ),
        kt.Stage(epochs=epochs["two-stage"], train="all", learning_rate=3e-4, schedule="cosine"),
    ]
    arms = iter(("frozen probe", "two-stage"))
    measure = keras.callbacks.LambdaCallback(
        on_train_end=lambda _: record(next(arms), _accuracy(model, data))
    )
    if out is not None:  # an interrupted demo starts again
        (out / resuming.STATE).unlink(missing_ok=True)
    kt.fine_tune(model, data, stages=stages, callbacks=[measure], seed=seed, run_dir=out, verbose=0)
    return model


def _accuracy(model: Any, data: Any) -> float:
    outputs = model.predict(data.test, verbose=0)
    return float((outputs.argmax(-1) == data.targets["test"]).mean())
