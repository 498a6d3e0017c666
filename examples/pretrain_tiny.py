"""Makes the weights of the "tiny" backbone from nothing but images that the package renders.

What: one network learns to tell apart 2,000 random stroke characters and to say what is in a rendered scene (shape,
texture and colour of the nearest object, texture of the background, number of objects, class of every second pixel).
Every round draws all characters anew and renders new scenes, so no image is seen twice.
How long: 10 minutes on 2 CPU cores shared with other work; 1.5 GB of memory.
Result: the file that the package ships, `keras_transfer/backbones/tiny.weights.h5`. A linear probe on its frozen
features reads scikit-learn's real digits with 93 % accuracy from 5 images a class; on random features with 73 %.
"""

import argparse
import time

import keras
import numpy as np

import keras_transfer as kt

ANSWERS = {
    "class": len(kt.data.SHAPES),
    "texture": len(kt.data.TEXTURES),
    "colour": len(kt.data.COLOURS),
    "background": len(kt.data.TEXTURES),
    "count": 5,
}
WEIGHTS = {
    "character": 1.0,
    "mask": 0.2,
}  # 0.1 for the others: characters teach most, scenes add colour and texture
UNKNOWN = -1  # glyphs have no scene labels and scenes no character: the losses leave these out


def build_model(trunk: keras.Model, characters: int) -> keras.Model:
    """Puts one linear head for each question on the trunk."""
    pooled = keras.layers.GlobalAveragePooling2D()(trunk.output)
    outputs = {"character": keras.layers.Dense(characters, name="character")(pooled)}
    outputs |= {
        name: keras.layers.Dense(answers, name=name)(pooled) for name, answers in ANSWERS.items()
    }
    # each place of the map (stride 8) answers for its 4 x 4 pixels of half the resolution
    classes = 1 + len(kt.data.SHAPES)
    cells = keras.layers.Conv2D(16 * classes, 1)(trunk.output)
    outputs["mask"] = keras.layers.Reshape((4, 4, 16, classes), name="mask")(cells)
    return keras.Model(trunk.input, outputs)


def render(
    round_: int, characters: int, drawings: int, scenes: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns images and labels of one round: all characters, then scenes."""
    glyphs, labels = kt.data.render_glyphs(characters, drawings, image_size=32, hand=round_)
    rendered = kt.data.render_scenes(scenes, image_size=32, seed=round_)
    cells = (
        rendered["masks"][:, 1::2, 1::2]
        .reshape(scenes, 4, 4, 4, 4)
        .swapaxes(2, 3)
        .reshape(scenes, 4, 4, 16)
    )
    known = {name: rendered[name] for name in ANSWERS} | {"mask": cells.astype(np.int64)}
    targets = {
        name: np.concatenate([np.full((len(glyphs), *values.shape[1:]), UNKNOWN), values])
        for name, values in known.items()
    }
    targets["character"] = np.concatenate([labels, np.full(scenes, UNKNOWN)])
    return np.concatenate([glyphs, rendered["images"]]), targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--characters", type=int, default=2000)
    parser.add_argument("--drawings", type=int, default=16, help="of each character in a round")
    parser.add_argument("--scenes", type=int, default=6000, help="in a round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="tiny.weights.h5")
    options = parser.parse_args()

    keras.utils.set_random_seed(options.seed)
    trunk = kt.backbone("tiny", weights=None)
    model = build_model(trunk, options.characters)
    steps = options.rounds * -(-(options.characters * options.drawings + options.scenes) // 256)
    warm_up = min(300, steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-5, steps - warm_up, warmup_target=3e-3, warmup_steps=warm_up
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.02),
        loss={
            name: keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=UNKNOWN)
            for name in model.output_names
        },
        loss_weights={name: WEIGHTS.get(name, 0.1) for name in model.output_names},
    )
    start = time.perf_counter()
    for round_ in range(options.rounds):
        images, targets = render(round_, options.characters, options.drawings, options.scenes)
        losses = model.fit(images, targets, batch_size=256, verbose=0).history
        shown = ", ".join(
            f"{name.removesuffix('_loss')} {values[-1]:.3f}" for name, values in losses.items()
        )
        print(
            f"round {round_ + 1}/{options.rounds}, {time.perf_counter() - start:.0f} s, losses: {shown}",
            flush=True,
        )
    trunk.save_weights(options.output)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
