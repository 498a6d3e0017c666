"""Are the maps of `kt.explain` those of xplique? Two commands, for xplique pins an older TensorFlow:

    python examples/benchmarks/explain_reference.py write FOLDER
    python examples/benchmarks/explain_reference.py compare FOLDER  # in an environment of xplique

Claims: Grad-CAM, integrated gradients and occlusion agree to 1e-4 of the largest number. SmoothGrad and RISE draw noise
and masks at random, so their maps agree in rank (correlation above 0.9). xplique's Grad-CAM++ divides by the mean of a
channel where equation 19 of the paper has its sum, so its maps differ and are compared in rank, too. A minute; prints
one JSON line.
"""

import argparse
import json
import pathlib

import keras
import numpy as np

SIZE, STEPS, PATCH, MASKS, SAMPLES = 48, 49, 8, 4000, 200
LAYER = "top"


def make_model():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Conv2D(16, 3, activation="tanh", name=LAYER),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


def write(folder):
    import keras_transfer as kt
    from keras_transfer.evaluation.explain import subject

    model = make_model()
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (4, 6, 6, 3))
    images = coarse.repeat(8, axis=1).repeat(8, axis=2).astype("float32")
    target = np.array([0, 1, 2, 4])
    methods = {
        "gradcam": kt.evaluation.GradCAM(),
        "gradcam++": kt.evaluation.GradCAMPlusPlus(),
        "integrated_gradients": kt.evaluation.IntegratedGradients(steps=STEPS),
        "occlusion": kt.evaluation.Occlusion(patch=PATCH, stride=PATCH, fill=0),
        "smoothgrad": kt.evaluation.SmoothGrad(samples=SAMPLES, noise=0.1),
        "rise": kt.evaluation.RISE(masks=MASKS, fill=0),
    }
    maps = {}
    for name, method in methods.items():
        asked = subject.Subject(model, has_places=method.needs_places)
        maps[name] = method.explain(asked, images, target)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    np.savez(folder / "maps.npz", images=images, target=target, **maps)


def compare(folder):
    import tensorflow as tf
    import xplique
    from scipy import stats
    from xplique import attributions

    model = keras.models.load_model(folder / "model.keras")
    own = dict(np.load(folder / "maps.npz"))
    images, target = own.pop("images"), own.pop("target")
    one_hot = np.eye(5, dtype="float32")[target]
    noise = 0.1 * float(np.ptp(images[0]))
    methods = {
        "gradcam": attributions.GradCAM(model, conv_layer=LAYER),
        "gradcam++": attributions.GradCAMPP(model, conv_layer=LAYER),
        "integrated_gradients": attributions.IntegratedGradients(
            model, steps=STEPS + 1, reducer="sum"
        ),
        "occlusion": attributions.Occlusion(
            model, patch_size=PATCH, patch_stride=PATCH, occlusion_value=0.0
        ),
        "smoothgrad": attributions.SmoothGrad(model, nb_samples=SAMPLES, noise=noise, reducer=None),
        "rise": attributions.Rise(model, nb_samples=MASKS, grid_size=7),
    }
    result = {"benchmark": "explain_reference", "gap": {}, "rank_correlation": {}}
    for name, method in methods.items():
        theirs = np.asarray(method.explain(images, one_hot))
        if name == "smoothgrad":
            theirs = np.abs(theirs).mean(axis=-1, keepdims=True)
        ours = own[name][..., None].astype("float32")
        if ours.shape[1] != SIZE:  # as xplique enlarges maps
            ours = tf.image.resize(ours, (SIZE, SIZE), method="bicubic").numpy()
        theirs = theirs.reshape(ours.shape)
        gap = np.abs(ours - theirs).max() / np.abs(theirs).max()
        ranks = [
            stats.spearmanr(a.ravel(), b.ravel()).statistic
            for a, b in zip(ours, theirs, strict=True)
        ]
        result["gap"][name] = float(f"{gap:.3g}")
        result["rank_correlation"][name] = round(float(np.mean(ranks)), 4)
    result["versions"] = {
        "xplique": getattr(xplique, "__version__", "?"),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
    print(json.dumps(result))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("write", "compare"))
    parser.add_argument("folder", type=pathlib.Path)
    asked = parser.parse_args()
    {"write": write, "compare": compare}[asked.part](asked.folder)


if __name__ == "__main__":
    main()
