"""Prune the hidden layers of a small vision transformer; what cannot be pruned stays whole.

``nn.TransformerEncoderLayer`` keeps its attention (its class wants all heads) and everything on the residual stream,
so what is searched is how wide the two hidden layers between them are. The images are scikit-learn's digits, in three
splits: training (some of which calibrate), search and test. Takes about ten seconds on one core.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import amc

PATCHES = 16


class ViT(nn.Module):
    """Patches of 2 x 2 pixels, a token for the class, two encoder layers with four heads."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, kernel_size=2, stride=2)
        self.class_token = nn.Parameter(torch.randn(1, 1, width) / 10)
        self.position = nn.Parameter(torch.randn(1, 1 + PATCHES, width) / 10)
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1)
        return self.head(self.encoder(tokens + self.position)[:, 0])


def load_splits() -> list[tuple[Tensor, Tensor]]:
    """Return the splits for training, for the search and for the test, each as images and labels."""
    pixels, classes = load_digits(return_X_y=True)
    order = torch.randperm(len(classes))
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8)[order] / 16
    labels = torch.tensor(classes)[order]
    sizes = [1000, 300, 497]
    return list(zip(images.split(sizes), labels.split(sizes), strict=True))


def fit(model: nn.Module, images: Tensor, labels: Tensor, steps: int) -> None:
    """Train for some steps of 64 images, and leave the network in eval mode."""
    optimizer = torch.optim.Adam(model.train().parameters(), lr=2e-3)
    for _ in range(steps):
        batch = torch.randint(len(labels), (64,))
        optimizer.zero_grad()
        cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the fraction of images that are told right."""
    return float((model(images).argmax(1) == labels).float().mean())


def main(steps: int = 600, episodes: int = 50) -> None:
    """Train and search."""
    torch.manual_seed(0)
    train, search, test = load_splits()
    model = ViT()
    fit(model, *train, steps)

    calibration = [(train[0][:300], train[1][:300])]
    result = amc.prune(model, train[0][:1], calibration=calibration, validation=[search], target=0.7, episodes=episodes)
    kept = ", ".join(f"{layer}: {keep:.2f}" for layer, keep in result.strategy.items())
    print(f"accuracy on test: {accuracy(model, *test):.3f} dense")
    print(f"{accuracy(result.model, *test):.3f} at 70% of the FLOPs, keeps {kept}")


if __name__ == "__main__":
    main()
