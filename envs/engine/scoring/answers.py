"""What a classifier answers to the images of a split, image by image."""

from typing import NamedTuple

from torch import Tensor


class Answers(NamedTuple):
    """What a classifier made of some images, on the host.

    Attributes:
        correct: whether the class of highest score is the right one, bool, shape ``(n,)``.
        loss: cross-entropy of each image, float64, shape ``(n,)``.
        margin: by how much the highest score is above the second, shape ``(n,)``.
        divergence: KL divergence of the class probabilities from the reference's, in nats, float64, shape ``(n,)``;
            ``nan`` where there is no reference.
    """

    correct: Tensor
    loss: Tensor
    margin: Tensor
    divergence: Tensor
