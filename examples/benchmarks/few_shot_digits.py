"""Does transfer help with few images? The arms of `keras-transfer demo`, at 5 and at 2 images a digit, over 5 seeds.

    python examples/benchmarks/few_shot_digits.py

Claims: two-stage fine-tuning of the bundled backbone is at least 6 points ahead of training the same network from
scratch and 3 ahead of logistic regression on the pixels at 5 images a digit, 15 ahead of scratch at 2. Both baselines
have the settings that did best on the test images. Four minutes on two free cores; prints one JSON line.
"""

import argparse
import json
import os
import platform
import statistics

import keras
import tensorflow as tf

from keras_transfer.cli import demo

# More than the demo takes: each arm has come to rest.
EPOCHS = {"frozen probe": 50, "two-stage": 40, "scratch": 150}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 2])
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    result = {
        "benchmark": "few_shot_digits",
        "seeds": asked.seeds,
        "accuracy": {},
        "two_stage_ahead_by": {},
    }
    for shots in asked.shots:
        scores, _, _ = demo.compare(shots=shots, seeds=asked.seeds, epochs=EPOCHS)
        means = {arm: 100 * statistics.mean(values) for arm, values in scores.items()}
        result["accuracy"][shots] = {
            arm: {
                "mean": round(means[arm], 2),
                "seeds": [round(100 * value, 2) for value in values],
            }
            for arm, values in scores.items()
        }
        result["two_stage_ahead_by"][shots] = {
            arm: round(means["two-stage"] - mean, 2)
            for arm, mean in means.items()
            if arm != "two-stage"
        }
    result["versions"] = {"keras": keras.__version__, "tensorflow": tf.__version__}
    result["device"] = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps(result))


if __name__ == "__main__":
    main()
