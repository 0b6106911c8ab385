"""Prune a U-Net by a score of your own: mean intersection over union, instead of top-1 accuracy.

The network has a skip connection, so channels are concatenated: what goes there goes on both sides of it. The score is
any function of a network, higher is better; it sees the search split only, and the printed figures are of test
pictures that the search has not seen. The pictures are discs in noise, made here. Takes about ten seconds on one
core.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import amc

SIZE = 32


class UNet(nn.Module):
    """One level: fine features, coarse features at half the size, both together, and a mask of logits."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.coarse = nn.Conv2d(16, 32, kernel_size=3, padding=1, stride=2)
        self.upsample = nn.Upsample(scale_factor=2)
        self.merge = nn.Conv2d(16 + 32, 16, kernel_size=3, padding=1)
        self.head = nn.Conv2d(16, 1, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.fine(images).relu()
        coarse = self.upsample(self.coarse(fine).relu())
        merged = self.merge(torch.cat([fine, coarse], dim=1)).relu()
        return self.head(merged)


def make_discs(count: int) -> tuple[Tensor, Tensor]:
    """Return noisy pictures of one disc each and the masks of the discs, both of shape ``(count, 1, 32, 32)``."""
    middle = 6 + 20 * torch.rand(count, 2, 1, 1)
    radius = 2 + 6 * torch.rand(count, 1, 1)
    axis = torch.arange(float(SIZE))
    squared = (axis.view(1, 1, SIZE) - middle[:, 0]) ** 2 + (axis.view(1, SIZE, 1) - middle[:, 1]) ** 2
    masks = (squared < radius**2).unsqueeze(1)
    return masks + 0.7 * torch.randn(masks.shape), masks.float()


@torch.no_grad()
def mean_iou(model: nn.Module, images: Tensor, masks: Tensor) -> float:
    """Return the intersection of found and true disc over their union, averaged over pictures."""
    found, true = model(images) > 0, masks > 0
    return float(((found & true).sum((1, 2, 3)) / (found | true).sum((1, 2, 3))).mean())


def fit(model: nn.Module, images: Tensor, masks: Tensor, steps: int) -> None:
    """Train for some steps of 16 pictures, and leave the network in eval mode."""
    optimizer = torch.optim.Adam(model.train().parameters(), lr=3e-3)
    for _ in range(steps):
        batch = torch.randint(len(images), (16,))
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(model(images[batch]), masks[batch]).backward()
        optimizer.step()
    model.eval()


def main(steps: int = 150, episodes: int = 50) -> None:
    """Train and search."""
    torch.manual_seed(0)
    train, search, test = make_discs(256), make_discs(64), make_discs(128)
    model = UNet()
    fit(model, *train, steps)

    result = amc.prune(
        model,
        train[0][:1],
        calibration=[train],
        score=lambda candidate: mean_iou(candidate, *search),
        target=0.4,
        episodes=episodes,
    )
    print(f"mean IoU on the search split: {result.best.evaluation.metric:.3f}")
    print(f"mean IoU on test: {mean_iou(model, *test):.3f} dense")
    print(f"{mean_iou(result.model, *test):.3f} at 40% of the FLOPs")


if __name__ == "__main__":
    main()
