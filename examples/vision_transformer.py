"""Prune the hidden layers of a small vision transformer on scikit-learn's digits; attention stays whole."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import amc


class ViT(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(1, width, 2, 2), nn.Linear(width, 10)
        self.first, self.position = (nn.Parameter(torch.randn(1, n, width) / 10) for n in (1, 17))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, images: Tensor) -> Tensor:
        tokens = (self.first.expand(len(images), -1, -1), self.patches(images).flatten(2).transpose(1, 2))
        return self.head(self.encoder(torch.cat(tokens, 1) + self.position)[:, 0])


def main(steps: int = 600, episodes: int = 50) -> None:
    torch.manual_seed(0)
    model, (pixels, labels) = ViT(), map(torch.tensor, load_digits(return_X_y=True))
    images = pixels.float().view(-1, 1, 8, 8) / 16
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for batch in torch.randint(1200, (steps, 64)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    dense = float((model.eval()(images[1200:]).argmax(1) == labels[1200:]).float().mean())
    train, val = [(images[:1200], labels[:1200])], [(images[1200:], labels[1200:])]
    result = amc.prune(model, images[:1], calibration=train, validation=val, target=0.7, episodes=episodes)
    print(f"accuracy {dense:.3f} dense, {result.best.evaluation.metric:.3f} at 70% of the FLOPs: {result.strategy}")


if __name__ == "__main__":
    main()
