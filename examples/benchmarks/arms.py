"""What does `kt.compare` save against the same trainings one by one?

    python examples/benchmarks/arms.py DATA

DATA holds `weights/` (the file of MobileNetV2 of width 0.35) and the image set `alpaca2`, with a training and a test
part. Four arms (a probe, a solved head, two stages, two stages of the topmost blocks only) at 160 pixels, 3 seeds:

* together: one call of `kt.compare`;
* alone: a process for each arm and seed, as a script would be, which decodes the images, builds the model, trains it
  with the package's own caching and measures it. With `--alone 1` one seed of each arm is run, and counts for all: the
  others take as long.

`--arms scratch probe head_only two_stage` asks about training from scratch, too, which shares nothing but the start of
the process and the decoded images.

Processor time (which other work on the machine hardly changes) and time by the clock, from the start of the first
process to the end of the last. Claim: together takes at most half of the processor time. A finished measurement is a
line of JSON on standard error, and in `--rows FILE`, from where it is not measured again. One JSON line goes to
standard output.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import time

import kept_rows

ARMS = {
    "scratch": "scratch",
    "probe": "probe",
    "head_only": "head_only",
    "two_stage": "two_stage",
    "top": {"plan": "two_stage", "unfreeze": "block_13*"},
}
CHOSEN = ("probe", "head_only", "two_stage", "top")
SIZE = 160
BAR = 0.5
WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"


def load(root):
    import keras_transfer as kt

    folder = root / "alpaca2"
    return kt.data.from_folder(folder / "train", test=folder / "test", image_size=SIZE)


def network(root, *, pretrained=True):
    import keras_transfer as kt

    weights = str(root / "weights" / WEIGHTS) if pretrained else None
    return kt.backbone("MobileNetV2", weights=weights, image_size=SIZE, alpha=0.35)


def together(root, names, seeds):
    import keras_transfer as kt

    arms = {name: ARMS[name] for name in names}
    found = kt.compare(load(root), arms, backbone=network(root), seeds=seeds, verbose=0)
    print(found, file=sys.stderr, flush=True)
    return {name: found["arms"][name]["scores"]["classification"]["seeds"] for name in names}


def alone(root, arm, seed):
    import keras

    import keras_transfer as kt

    data = load(root)
    keras.utils.set_random_seed(seed)
    task = kt.tasks.Classification(data.class_names)
    model = kt.build_model(network(root, pretrained=arm != "scratch"), task, seed=seed)
    if arm == "probe":
        kt.training.solve_head(model, data.joined())
    elif arm == "scratch":
        options = {"plan": "full", "learning_rate": 1e-3, "batch_norm": "train"}
        kt.fine_tune(model, data.with_orders(seed).joined(), seed=seed, verbose=0, **options)
    else:
        options = ARMS[arm] if isinstance(ARMS[arm], dict) else {"plan": arm}
        kt.fine_tune(model, data.with_orders(seed), seed=seed, verbose=0, **options)
    return {arm: [kt.evaluate(model, data, verbose=0)["accuracy"]]}


def run(asked, *arguments):
    """Returns the scores, and the times, of a process of its own."""
    command = [sys.executable, __file__, str(asked.data), "--seeds", str(asked.seeds)]
    command += ["--arms", *asked.arms, *arguments]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    scores = json.loads(done.stdout.splitlines()[-1])
    return {"seconds": time.perf_counter() - begin, "cpu_seconds": cpu, "scores": scores}


def measure(asked):
    """Returns the rows of all processes, each measured once."""
    kept = kept_rows.Rows(asked.rows, ("side",))
    sides = {"together": ("--side", "together")}
    for seed in range(asked.alone or asked.seeds):
        for arm in asked.arms:
            sides[f"{arm} {seed}"] = ("--side", arm, "--seed", str(seed))
    return {side: kept.get(run, asked, *arguments, side=side) for side, arguments in sides.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--arms", nargs="+", default=list(CHOSEN), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--alone", type=int, help="seeds that are run alone (all)")
    parser.add_argument("--rows", type=pathlib.Path)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if asked.side == "together":
        print(json.dumps(together(asked.data, asked.arms, asked.seeds)))
        return
    if asked.side:
        print(json.dumps(alone(asked.data, asked.side, asked.seed)))
        return

    found = measure(asked)
    total = {}
    for key in ("seconds", "cpu_seconds"):
        apart = sum(row[key] for side, row in found.items() if side != "together")
        apart *= asked.seeds / (asked.alone or asked.seeds)
        total[key] = {"together": round(found["together"][key], 1), "alone": round(apart, 1)}
        total[key]["share"] = round(found["together"][key] / apart, 3)
    result = {"benchmark": "arms", "arms": asked.arms, "seeds": asked.seeds, **total}
    result["claim_holds"] = total["cpu_seconds"]["share"] <= BAR
    print(json.dumps(result | {"device": f"{platform.machine()}, {os.cpu_count()} cores"}))


if __name__ == "__main__":
    main()
