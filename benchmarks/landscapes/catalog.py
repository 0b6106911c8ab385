"""Which networks are recorded, with which keys of ``amc.search``, and which of them an agent may be designed on."""

Keys = tuple[str, ...]

COMMON: Keys = ("data.search=2000", "data.calibration=500", "adaptive_bn=200", "threads=1")
"""The fast paths: fewer images than by default to score and to repair on; bfloat16 goes without saying."""
SMALL: Keys = ("data=digits", "data.search=500", "data.calibration=200")
"""Of 1,797 images of 8x8 pixels; trained and scored in no time."""
NETWORKS: dict[str, Keys] = {
    "mobilenet-fashion": ("model=mobilenet", "model.width=0.25", "data=fashion_mnist", "train.epochs=2"),
    "resnet20-cifar10": ("model=resnet20", "data=cifar10"),
    "resnet20-fashion": ("model=resnet20", "data=fashion_mnist", "train.epochs=1"),
    "plain20-fashion": ("model=plain20", "data=fashion_mnist", "train.epochs=1"),
    "vgg16-fashion": ("model=vgg16", "model.width=0.125", "data=fashion_mnist", "train.epochs=1"),
    "mobilenet_v2-fashion": ("model=mobilenet_v2", "model.width=0.35", "data=fashion_mnist", "train.epochs=1"),
    "resnet20-element-fashion": (
        *("model=resnet20", "data=fashion_mnist", "train.epochs=1"),
        *("granularity=element", "data.search=1000"),
    ),
    "mobilenet-digits": ("model=mobilenet", "model.width=0.25", *SMALL, "train.epochs=60"),
    "mobilenet_v2-digits": ("model=mobilenet_v2", "model.width=0.25", *SMALL, "train.epochs=30"),
    "resnet20-digits": ("model=resnet20", *SMALL, "train.epochs=60"),
    "plain20-digits": ("model=plain20", *SMALL, "train.epochs=60"),
    "vgg16-digits": ("model=vgg16", "model.width=0.125", *SMALL, "train.epochs=30"),
    "plain20-cifar10": ("model=plain20", "data=cifar10"),
    "mobilenet-cifar10": ("model=mobilenet", "model.width=0.25", "data=cifar10"),
    "resnet56-cifar10": ("model=resnet56", "data=cifar10"),
}
TARGETS = (0.5, 0.3, 0.15)
DESIGN = ("mobilenet-digits", "mobilenet-fashion", "resnet20-cifar10", "resnet20-digits")
"""Whoever makes an agent may look at these as often as he likes; at the others once, at the end."""
