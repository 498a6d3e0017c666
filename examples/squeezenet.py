"""A backbone of your own: SqueezeNet 1.1, written as a Keras model, with weights from an old file.

    python examples/squeezenet.py --weights squeezenet_notop.h5 --photos photos/

The file's layers have names of its own ("fire2/squeeze1x1"); they are matched with the network's in order, every shape
is checked before anything is loaded, and the table of what went where is printed. The file expects BGR pixels minus
ImageNet's mean, which is `preprocess="caffe"`.

Without arguments it runs offline with random weights on rendered scenes of eight shapes: a minute on two cores, and an
accuracy hardly above chance (0.125), since a network without pretraining has nothing to transfer.
"""

import argparse

import keras
from keras import layers

import keras_transfer as kt


def squeezenet(image_size):
    """SqueezeNet 1.1 without its classifier (Iandola et al., 2016)."""
    inputs = keras.Input((image_size, image_size, 3))
    x = layers.Conv2D(64, 3, strides=2, activation="relu", name="stem")(inputs)
    for number, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64), 2):
        if number in (2, 4, 6):
            x = layers.MaxPooling2D(3, strides=2, name=f"pool{number}")(x)
        small = layers.Conv2D(squeeze, 1, activation="relu", name=f"fire{number}_squeeze")(x)
        wide = [
            layers.Conv2D(
                4 * squeeze,
                side,
                padding="same",
                activation="relu",
                name=f"fire{number}_expand{side}",
            )(small)
            for side in (1, 3)
        ]
        x = layers.Concatenate(name=f"fire{number}")(wide)
    return keras.Model(inputs, x, name="squeezenet")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", help="weights file of the network, .h5")
    parser.add_argument("--photos", help="folder with one subfolder a class")
    parser.add_argument(
        "--image-size",
        type=int,
        default=64,
        help="227 is what the published weights were trained at",
    )
    parser.add_argument("--images", type=int, default=1500, help="how many scenes to render")
    parser.add_argument("--epochs", type=int, nargs=2, default=(5, 5))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    if asked.photos:
        data = kt.data.from_folder(
            asked.photos, image_size=asked.image_size, test=0.2, seed=asked.seed
        )
    else:
        data = kt.data.scenes(
            asked.images, image_size=asked.image_size, test=0.2, seed=asked.seed, max_objects=1
        )
    network = squeezenet(asked.image_size)
    if asked.weights:
        print(*kt.backbones.load_by_order(network, asked.weights).lines, sep="\n")
    backbone = kt.backbone(network, preprocess="caffe")
    task = kt.tasks.Classification(data.class_names)
    model = kt.build_model(backbone, task, seed=asked.seed)
    kt.fine_tune(model, data, epochs=asked.epochs, unfreeze="fire8*", seed=asked.seed, verbose=2)
    print(kt.evaluate(model, data))


if __name__ == "__main__":
    main()
