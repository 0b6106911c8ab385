"""Which networks are recorded, with which keys of ``amc.search``, and which of them an agent may be designed on."""

Keys = tuple[str, ...]

COMMON: Keys = ("data.search=2000", "data.calibration=500", "adaptive_bn=200", "threads=1")
"""The fast paths: fewer images than by default to score and to repair on; bfloat16 goes without saying."""
NETWORKS: dict[str, Keys] = {
    "resnet20-fashion": ("model=resnet20", "data=fashion_mnist", "train.epochs=1.5"),
    "mobilenet-fashion": ("model=mobilenet", "model.width=0.25", "data=fashion_mnist", "train.epochs=2"),
    "mobilenet_v2-fashion": ("model=mobilenet_v2", "model.width=0.35", "data=fashion_mnist", "train.epochs=1.5"),
    "plain20-fashion": ("model=plain20", "data=fashion_mnist", "train.epochs=1.5"),
    "vgg16-fashion": ("model=vgg16", "model.width=0.125", "data=fashion_mnist", "train.epochs=2"),
    "resnet20-element-fashion": (
        *("model=resnet20", "data=fashion_mnist", "train.epochs=1.5"),
        *("granularity=element", "adaptive_bn=200", "data.search=1000"),
    ),
    "resnet20-cifar10": ("model=resnet20", "data=cifar10", "train.epochs=3", "train.shift=2", "train.bf16=true"),
    "plain20-cifar10": ("model=plain20", "data=cifar10", "train.epochs=3", "train.shift=2", "train.bf16=true"),
    "mobilenet-cifar10": ("model=mobilenet", "model.width=0.25", "data=cifar10", "train.epochs=4", "train.bf16=true"),
    "resnet56-fashion": ("model=resnet56", "data=fashion_mnist", "train.epochs=1"),
}
TARGETS = (0.5, 0.3, 0.15)
DESIGN = ("mobilenet-fashion", "plain20-fashion", "resnet20-cifar10", "mobilenet_v2-fashion")
"""Whoever makes an agent may look at these as often as he likes; at the others once, at the end."""
