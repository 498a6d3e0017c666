"""Who wrote what, and what is it: two data sets without a common label, one trunk, one joint training step.

    python examples/two_sets_one_trunk.py

A set of characters has the character's identity, a set of scenes the class of the nearest object; neither has the
other's label. Mixed, every batch trains both heads, each on the images that have its label, and a trunk that serves
both. Rendered images, offline, about a minute on two cores. With pictures of your own, one subfolder a class each:

    python examples/two_sets_one_trunk.py --identities characters/ --objects photos/ --backbone MobileNetV2

(and `--weights imagenet --image-size 160`, to begin with what ImageNet taught).

The uncertainty of the two losses is learnt and balances them; the report shows how, epoch by epoch.
"""

import argparse

import keras_transfer as kt


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identities", help="folder with one subfolder an identity")
    parser.add_argument("--objects", help="folder with one subfolder a class")
    parser.add_argument("--backbone", default="tiny")
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--image-size", type=int, default=48)
    parser.add_argument("--balancing", default="uncertainty")
    parser.add_argument("--images", type=int, default=2000, help="how many scenes to render")
    parser.add_argument("--epochs", type=int, nargs=2, default=(4, 6))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", default="runs/two_sets.html")
    asked = parser.parse_args()

    shape = {"image_size": asked.image_size, "test": 0.2, "seed": asked.seed}
    identities = (
        kt.data.from_folder(asked.identities, **shape)
        if asked.identities
        else kt.data.glyphs(40, 20, **shape)
    )
    objects = (
        kt.data.from_folder(asked.objects, **shape)
        if asked.objects
        else kt.data.scenes(asked.images, **shape)
    )
    data = kt.data.mix(
        {"identity": identities, "object": objects}, sampling="equal", seed=asked.seed
    )
    tasks = {name: kt.tasks.Classification(names) for name, names in data.class_names.items()}
    backbone = kt.backbone(asked.backbone, weights=asked.weights, image_size=asked.image_size)
    model = kt.build_model(backbone, tasks, balancing=asked.balancing, seed=asked.seed)
    kt.fine_tune(model, data, epochs=asked.epochs, seed=asked.seed, verbose=2)
    report = kt.evaluate(model, data)
    print(report)
    report.save(asked.report)


if __name__ == "__main__":
    main()
