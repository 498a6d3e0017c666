"""Who is it here, where is what there: identities of one set and boxes of another, one trunk, one joint training step.

    python examples/faces_and_objects.py

A set of characters has identities and no boxes, a set of scenes has boxes and no identities. Mixed, every batch trains
both heads, each on the images that have its label. Rendered images, offline, about two minutes on two cores. With faces
in one subfolder a person and photos with VOC annotations:

    python examples/faces_and_objects.py --identities faces/ --objects VOC2007/ --backbone MobileNetV2 --image-size 320

The report has the accuracy of the identities, and average precision and pictures of the boxes.
"""

import argparse

import keras_transfer as kt


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identities", help="folder with one subfolder an identity")
    parser.add_argument("--objects", help="folder with Annotations/ and JPEGImages/")
    parser.add_argument("--backbone", default="tiny")
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=800, help="how many scenes to render")
    parser.add_argument("--epochs", type=int, nargs=2, default=(4, 8))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", default="runs/faces_and_objects.html")
    asked = parser.parse_args()

    shape = {"image_size": asked.image_size, "test": 0.2, "seed": asked.seed}
    if asked.identities:
        identities = kt.data.from_folder(asked.identities, **shape)
    else:
        identities = kt.data.glyphs(40, 20, **shape)
    if asked.objects:
        objects = kt.data.from_voc(asked.objects, corrupt="skip", **shape)
    else:
        objects = kt.data.scenes(asked.images, targets="boxes", **shape)

    sets = {"identity": identities, "objects": objects}
    data = kt.data.mix(sets, sampling="equal", seed=asked.seed)
    tasks = {
        "identity": kt.tasks.Classification(data.class_names["identity"]),
        "objects": kt.tasks.Detection(data.class_names["objects"]),
    }
    backbone = kt.backbone(asked.backbone, weights=asked.weights, image_size=asked.image_size)
    model = kt.build_model(backbone, tasks, balancing="uncertainty", seed=asked.seed)
    kt.fine_tune(model, data, epochs=asked.epochs, seed=asked.seed, verbose=2)
    report = kt.evaluate(model, data)
    print(report)
    report.save(asked.report)


if __name__ == "__main__":
    main()
