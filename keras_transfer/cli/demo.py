"""`keras-transfer demo`: few-shot digits, from scratch and transferred, offline."""

import argparse
import pathlib
import time

from keras_transfer.cli import options

__all__ = ["ARMS", "add_arguments", "compare", "main"]

# arm: what it shows, in the order of the table.
ARMS = {
    "raw pixels": "logistic regression on the 64 grey values",
    "scratch": "the same network, random weights, all of it trained",
    "frozen probe": "pretrained network frozen, a linear head trained",
    "two-stage": "then the network is fine-tuned, too",
}
BATCH = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Says what the command takes."""
    parser.add_argument(
        "--shots", type=options.positive, default=5, metavar="N", help="training images a digit (5)"
    )
    parser.add_argument(
        "--seeds", type=options.positive, default=3, metavar="N", help="how often to repeat (3)"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("runs/demo"), help="(runs/demo)"
    )


def main(arguments: argparse.Namespace) -> None:
    """Prints one table, and leaves the report and the SavedModel of the last two-stage run."""
    import keras_transfer as kt
    from keras_transfer.storage import files

    files.check_writable(arguments.out, argument="--out")
    begin = time.perf_counter()
    print(
        f"Real 8 x 8 digits (scikit-learn's), {arguments.shots} training images of each, all others to test on.\n"
        "The network was pretrained on characters and scenes that the package made up: it has never seen a digit."
    )
    scores, model, data = compare(
        shots=arguments.shots, seeds=arguments.seeds, out=arguments.out, show=True
    )
    print(table(scores))
    model.save(arguments.out / "model.keras")
    report = kt.evaluate(model, data)
    report.save(arguments.out / "report.html")
    report.save(arguments.out / "report.json")
    kt.export(model, arguments.out / "export" / "1", overwrite=True)
    kt.verify(arguments.out / "export" / "1", model, data)
    print(f"{time.perf_counter() - begin:.0f} seconds. Look at {arguments.out / 'report.html'}.")


def compare(
    *, shots: int, seeds: int, out: pathlib.Path | None = None, show: bool = False
) -> tuple[dict[str, list[float]], object, object]:
    """Trains every arm on the same few digits, for each seed.

    Args:
        shots: Training images a digit.
        seeds: How many different choices of training images, and of random weights.
        out: Run folder of the last two-stage run.
        show: Whether to print a line as each arm is done.

    Returns:
        Test accuracies by arm, the model of the last two-stage run, and its data.
    """
    scores = {arm: [] for arm in ARMS}
    for seed in range(seeds):
        data, pixels = digits(shots, seed)
        found = {"raw pixels": raw_pixels(pixels), "scratch": scratch(data, seed)}
        model, found["frozen probe"], found["two-stage"] = two_stage(
            data, seed, out if seed == seeds - 1 else None
        )
        for arm, accuracy in found.items():
            scores[arm].append(accuracy)
        if show:
            print(
                f"seed {seed}: "
                + ", ".join(f"{arm} {accuracy:.1%}" for arm, accuracy in found.items()),
                flush=True,
            )
    return scores, model, data


def table(scores: dict[str, list[float]]) -> str:
    """The mean accuracy of every arm, and how far it is from the two-stage one."""
    means = {arm: 100 * sum(values) / len(values) for arm, values in scores.items()}
    lines = [f"{'':<14}{'accuracy':>9}{'range':>15}  "]
    for arm, what in ARMS.items():
        spread = f"{100 * min(scores[arm]):.1f} – {100 * max(scores[arm]):.1f}"
        lines.append(f"{arm:<14}{means[arm]:>8.1f}%{spread:>15}  {what}")
    gain = means["two-stage"] - means["scratch"]
    return "\n".join(
        ["", *lines, "", f"Transfer gained {gain:+.1f} points over training from scratch."]
    )


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


def scratch(data: object, seed: int) -> float:
    """Test accuracy of the same network from random weights."""
    import keras

    import keras_transfer as kt

    keras.utils.set_random_seed(seed)
    model = kt.build_model(
        kt.backbone("tiny", weights=None), kt.tasks.Classification(data.class_names)
    )
    stage = kt.Stage(
        epochs=150, train="all", learning_rate=_cosine(3e-3, 150, data), batch_norm="train"
    )
    kt.fine_tune(model, data, stages=[stage], seed=seed, verbose=0)
    return _accuracy(model, data)


def two_stage(data: object, seed: int, out: pathlib.Path | None) -> tuple[object, float, float]:
    """Returns the fine-tuned model, and the test accuracy after each of its stages."""
    import keras

    import keras_transfer as kt

    keras.utils.set_random_seed(seed)
    model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(data.class_names))
    after = []
    measure = keras.callbacks.LambdaCallback(
        on_train_end=lambda _: after.append(_accuracy(model, data))
    )
    stages = [
        kt.Stage(epochs=50, train="head", learning_rate=_cosine(3e-3, 50, data)),
        kt.Stage(epochs=40, train="all", learning_rate=_cosine(3e-4, 40, data)),
    ]
    kt.fine_tune(model, data, stages=stages, callbacks=[measure], seed=seed, run_dir=out, verbose=0)
    return model, *after


def _cosine(rate: float, epochs: int, data: object) -> object:
    import keras

    steps = epochs * -(-len(data.targets["train"]) // BATCH)
    return keras.optimizers.schedules.CosineDecay(rate, steps)


def _accuracy(model: object, data: object) -> float:
    outputs = model.predict(data.test, verbose=0)
    return float((outputs.argmax(-1) == data.targets["test"]).mean())
