"""Data by name: a new data set is one function and one row here."""

from collections.abc import Callable

from amc.zoo.data.cifar10 import cifar10
from amc.zoo.data.dataset import RawData, Source
from amc.zoo.data.digits import digits
from amc.zoo.data.fashion_mnist import fashion_mnist
from amc.zoo.data.image_folder import image_folder

DATASETS: dict[str, Callable[[Source], RawData]] = {
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "image_folder": image_folder,
}
