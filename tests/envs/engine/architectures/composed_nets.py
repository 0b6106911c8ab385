"""Networks that need a forward function of their own."""

from collections.abc import Callable

import torch
from blocks import conv, pooled, unit
from net_builder import Net
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def inception() -> nn.Module:
    def forward(net: Net, images: Tensor) -> Tensor:
        features = net.stem(images)
        branches = [net.one(features), net.three(features), net.five(features), net.pool(features)]
        return net.head(pooled(net.after(torch.cat(branches, 1))))

    return Net(
        forward,
        stem=unit(3, 16),
        one=unit(16, 8, 1),
        three=nn.Sequential(unit(16, 8, 1), unit(8, 16)),
        five=nn.Sequential(unit(16, 8, 1), unit(8, 12, 5)),
        pool=nn.Sequential(nn.AvgPool2d(3, 1, 1), unit(16, 8, 1)),
        after=unit(44, 16),
        head=nn.Linear(16, 4),
    )


def heads() -> nn.Module:
    def forward(net: Net, images: Tensor) -> dict[str, object]:
        features = net.body(images)
        return {"boxes": net.boxes(features), "scores": [net.scores(features), net.label(pooled(features))]}

    body = nn.Sequential(unit(3, 16), unit(16, 32), unit(32, 16))
    return Net(forward, body=body, boxes=conv(16, 4), scores=conv(16, 3, 1), label=nn.Linear(16, 5))


def two_inputs() -> nn.Module:
    def forward(net: Net, image: Tensor, table: Tensor) -> Tensor:
        return net.head(torch.cat([pooled(net.images(image)), net.tables(table)], 1))

    tables = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
    return Net(forward, images=nn.Sequential(unit(3, 16), unit(16, 16)), tables=tables, head=nn.Linear(32, 4))


def complex_skip() -> nn.Module:
    def forward(net: Net, images: Tensor) -> Tensor:
        a = net.a(images)
        b = net.b(a)
        joined = torch.cat([a + b, a], 1)
        return net.head(pooled(net.d(joined + net.c(joined))))

    return Net(forward, a=unit(3, 16), b=unit(16, 16), c=unit(32, 32), d=unit(32, 16), head=nn.Linear(16, 4))


def in_place() -> nn.Module:
    def forward(net: Net, images: Tensor) -> Tensor:
        shortcut = net.a(images).relu_()
        features = net.b(shortcut)
        features += shortcut
        features.mul_(0.5).clamp_(max=4.0)
        return net.head(pooled(net.c(features)))

    return Net(forward, a=conv(3, 16), b=conv(16, 16), c=conv(16, 16), head=nn.Linear(16, 4))


def glu() -> nn.Module:
    def forward(net: Net, images: Tensor) -> Tensor:
        value, gate = net.both(net.stem(images)).chunk(2, 1)
        features = net.middle(value * gate.sigmoid())
        left, right = torch.split(features, [12, 12], 1)
        return net.head(pooled(F.glu(net.last(left + right), 1)))

    layers = {"stem": unit(3, 16), "both": conv(16, 32), "middle": conv(16, 24), "last": conv(12, 32)}
    return Net(forward, **layers, head=nn.Linear(16, 4))


def functional_norm() -> nn.Module:
    def forward(net: Net, images: Tensor) -> Tensor:
        features = F.batch_norm(net.a(images), net.mean, net.var, net.gain, net.shift).relu()
        return net.head(pooled(net.c(net.b(features).relu())))

    gain, shift = nn.Parameter(torch.rand(16) + 0.5), nn.Parameter(torch.randn(16))
    layers = {"a": conv(3, 16), "b": conv(16, 32), "c": conv(32, 16), "head": nn.Linear(16, 4)}
    return Net(forward, mean=torch.randn(16), var=torch.rand(16) + 0.5, gain=gain, shift=shift, **layers)


def channel_tensors() -> nn.Module:
    """A buffer and a parameter with a value a channel."""

    def forward(net: Net, images: Tensor) -> Tensor:
        features = net.b((net.a(images) * net.scale).relu()) * net.layer_scale
        return net.head(pooled(net.d(net.c(features).relu())))

    scale, layer_scale = torch.rand(1, 16, 1, 1) + 0.5, nn.Parameter(torch.rand(16, 1, 1) + 0.5)
    layers = {"a": conv(3, 16), "b": conv(16, 16), "c": conv(16, 32), "d": conv(32, 16), "head": nn.Linear(16, 4)}
    return Net(forward, scale=scale, layer_scale=layer_scale, **layers)


def hard_coded() -> nn.Module:
    def forward(net: Net, images: Tensor) -> Tensor:
        features = net.a(images).view(-1, 16, 144).view(-1, 16, 12, 12)
        return net.head(pooled(net.c(net.b(features.relu()).relu())))

    return Net(forward, a=conv(3, 16), b=conv(16, 32), c=conv(32, 16), head=nn.Linear(16, 4))


def computed_weights(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    layers = (unit(3, 16), norm(conv(16, 16)), nn.ReLU(), unit(16, 32), unit(32, 16))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))


def twice() -> nn.Module:
    def forward(net: Net, images: Tensor) -> Tensor:
        return net.head(pooled(net.c(net.b(net.again(net.again(net.a(images))))).relu()))

    return Net(forward, a=unit(3, 16), again=conv(16, 16), b=unit(16, 32), c=unit(32, 16), head=nn.Linear(16, 4))


def auxiliary() -> nn.Module:
    """A second head that is only there in training, as GoogLeNet's."""

    def forward(net: Net, images: Tensor) -> object:
        features = net.a(images)
        out = net.head(pooled(net.c(net.b(features))))
        return (out, net.aux(pooled(features))) if net.training else out

    layers = {"a": unit(3, 16), "b": unit(16, 32), "c": unit(32, 16)}
    return Net(forward, **layers, head=nn.Linear(16, 4), aux=nn.Linear(16, 4))


def recurrent() -> nn.Module:
    def forward(net: Net, signal: Tensor) -> Tensor:
        states, _ = net.rnn(net.b(net.a(signal).relu()).relu().transpose(1, 2))
        return net.head(net.wide(states[:, -1]).relu())

    layers = {"a": nn.Conv1d(3, 32, 5), "b": nn.Conv1d(32, 8, 5), "rnn": nn.GRU(8, 8, batch_first=True)}
    return Net(forward, **layers, wide=nn.Linear(8, 32), head=nn.Linear(32, 4))


def text(kernel: int = 3) -> nn.Module:
    def forward(net: Net, tokens: Tensor) -> Tensor:
        features = net.embedding(tokens).transpose(1, 2)
        return net.head(net.b(net.a(features).relu()).relu().amax(2))

    layers = {"a": nn.Conv1d(16, 32, kernel), "b": nn.Conv1d(32, 16, kernel), "head": nn.Linear(16, 4)}
    return Net(forward, embedding=nn.Embedding(50, 16), **layers)


def plain(*layers: nn.Module, width: int = 16) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4))


def group_norms() -> nn.Module:
    def block(inputs: int, outputs: int, norm: nn.Module) -> nn.Sequential:
        return nn.Sequential(conv(inputs, outputs), norm, nn.PReLU(outputs))

    instance = nn.InstanceNorm2d(32, affine=True)
    return plain(
        block(3, 32, nn.GroupNorm(8, 32)), block(32, 32, instance), block(32, 32, nn.GroupNorm(16, 32)), width=32
    )


def layer_norm() -> nn.Module:
    return plain(conv(3, 16), nn.GroupNorm(1, 16), nn.ReLU(), unit(16, 32), conv(32, 16), nn.LayerNorm([16, 12, 12]))


def multi_level() -> nn.Module:
    nested = nn.ModuleList([nn.Sequential(nn.Sequential(unit(3, 16)), nn.ModuleList([unit(16, 32)])[0]), unit(32, 16)])
    return Net(
        lambda net, images: net.head(pooled(net.parts[1](net.parts[0](images)))), parts=nested, head=nn.Linear(16, 4)
    )
