"""Prune a U-Net by mean intersection over union, on noisy pictures of discs made here."""

import torch
from torch import Tensor, nn

import amc


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fine, self.merge, self.head = nn.Conv2d(1, 16, 3, 1, 1), nn.Conv2d(48, 16, 3, 1, 1), nn.Conv2d(16, 1, 1)
        self.coarse = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Upsample(scale_factor=2))

    def forward(self, images: Tensor) -> Tensor:
        fine = self.fine(images).relu()
        return self.head(self.merge(torch.cat([fine, self.coarse(fine)], 1)).relu())


def mean_iou(found: Tensor, wanted: Tensor) -> float:
    return float(((found & wanted).sum((1, 2, 3)) / (found | wanted).sum((1, 2, 3))).mean())


def main(steps: int = 150, episodes: int = 50) -> None:
    torch.manual_seed(0)
    model, (x, y, radius), axis = UNet(), 20 * torch.rand(3, 320, 1, 1) + 6, torch.arange(32.0)
    masks = ((axis - x) ** 2 + (axis.view(32, 1) - y) ** 2 < (radius / 3) ** 2).unsqueeze(1)
    images, optimizer = masks + 0.7 * torch.randn(masks.shape), torch.optim.Adam(model.parameters(), 3e-3)
    for batch in torch.randint(256, (steps, 16)):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(images[batch]), masks[batch].float()).backward()
        optimizer.step()
    score, train = lambda net: mean_iou(net(images[256:]) > 0, masks[256:]), [(images[:256], masks[:256])]
    result = amc.prune(model, images[:1], calibration=train, score=score, target=0.4, episodes=episodes)
    print(f"mean IoU {score(model):.3f} dense, {result.best.evaluation.metric:.3f} at 40% of the FLOPs")


if __name__ == "__main__":
    main()
