"""Networks for images, signals and volumes, without attention."""

from collections.abc import Callable

import torch
from net_builder import Case, Net
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

IMAGE, SIGNAL, VOLUME = ((3, 12, 12),), ((3, 24),), ((2, 6, 6, 6),)


def conv(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def unit(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs, kernel, **options), nn.BatchNorm2d(outputs), nn.ReLU())


def pooled(features: Tensor) -> Tensor:
    return features.mean((2, 3))


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first, self.second = unit(inputs, outputs, stride=stride), conv(outputs, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv(inputs, outputs, 1, stride=stride)

    def forward(self, images: Tensor) -> Tensor:
        return (self.second(self.first(images)) + self.shortcut(images)).relu()


class PreActivation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), conv(channels, channels)
        self.norm2, self.conv2 = nn.BatchNorm2d(channels), conv(channels, channels)

    def forward(self, images: Tensor) -> Tensor:
        return images + self.conv2(self.norm2(self.conv1(self.norm1(images).relu())).relu())


class Dense(nn.Module):
    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(inputs + i * growth), nn.ReLU(), conv(inputs + i * growth, growth))
            for i in range(layers)
        )

    def forward(self, images: Tensor) -> Tensor:
        for layer in self.layers:
            images = torch.cat([images, layer(images)], 1)
        return images


class Squeeze(nn.Module):
    """Squeeze-and-excitation by linear layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(channels, channels // 2), nn.Linear(channels // 2, channels)

    def forward(self, images: Tensor) -> Tensor:
        scale = self.up(self.down(pooled(images)).relu()).sigmoid()
        return images * scale[:, :, None, None]


class Shuffle(nn.Module):
    """ShuffleNet's unit: half of the channels pass, half are worked on, then all are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(unit(half, half, 1), conv(half, half, groups=half), unit(half, half, 1))

    def forward(self, images: Tensor) -> Tensor:
        left, right = images.chunk(2, 1)
        joined = torch.cat([left, self.branch(right)], 1)
        b, c, h, w = joined.shape
        return joined.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class UNet(nn.Module):
    def __init__(self, transposed: bool) -> None:
        super().__init__()
        self.down1, self.down2, self.middle = unit(3, 16), unit(16, 32), unit(32, 32)
        self.up2 = nn.ConvTranspose2d(32, 32, 2, 2) if transposed else nn.Upsample(scale_factor=2)
        self.merge2 = unit(64, 16)
        self.up1 = nn.ConvTranspose2d(16, 16, 2, 2) if transposed else nn.Identity()
        self.merge1, self.head = unit(32, 16), conv(16, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.down1(images)
        second = self.down2(F.max_pool2d(first, 2))
        up = self.up2(self.middle(F.max_pool2d(second, 2)))
        up = self.up1(self.merge2(torch.cat([up, second], 1)))
        up = F.interpolate(up, size=first.shape[2:], mode="bilinear", align_corners=False)
        return self.head(self.merge1(torch.cat([up, first], 1)))


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


CONVOLUTIONAL: dict[str, Case] = {
    "residual": Case(lambda: plain(unit(3, 16), Residual(16, 16), Residual(16, 32, 2), width=32), IMAGE),
    "pre_activation": Case(lambda: plain(conv(3, 16), PreActivation(16), PreActivation(16)), IMAGE),
    "dense_block": Case(lambda: plain(unit(3, 16), Dense(16, 8, 3), unit(40, 16)), IMAGE),
    "grouped": Case(lambda: plain(unit(3, 16), unit(16, 32, groups=4), unit(32, 16, 1)), IMAGE),
    "depthwise": Case(lambda: plain(unit(3, 16), unit(16, 16, groups=16), unit(16, 32, 1), unit(32, 16)), IMAGE),
    "depthwise_multiplier": Case(
        lambda: plain(unit(3, 16), unit(16, 32, groups=16), unit(32, 16, 1), unit(16, 16)), IMAGE
    ),
    "squeeze_linear": Case(lambda: plain(unit(3, 16), Squeeze(16), unit(16, 16), Squeeze(16)), IMAGE),
    "inception": Case(inception, IMAGE),
    "multi_head_outputs": Case(heads, IMAGE),
    "two_inputs_tuple": Case(two_inputs, ((3, 12, 12), (6,))),
    "two_inputs_dict": Case(two_inputs, {"image": (3, 12, 12), "table": (6,)}),
    "unet_transposed": Case(lambda: UNet(transposed=True), ((3, 16, 16),)),
    "unet_upsample": Case(lambda: UNet(transposed=False), ((3, 16, 16),)),
    "signal": Case(
        lambda: nn.Sequential(
            nn.Conv1d(3, 16, 5),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Conv1d(16, 32, 3, dilation=2),
            nn.ELU(),
            nn.AdaptiveAvgPool1d(2),
            nn.Flatten(),
            nn.Linear(64, 4),
        ),
        SIGNAL,
    ),
    "volume": Case(
        lambda: nn.Sequential(
            nn.Conv3d(2, 8, 3), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 16, 3), nn.Flatten(), nn.Linear(128, 4)
        ),
        VOLUME,
    ),
    "transposed": Case(
        lambda: nn.Sequential(
            nn.ConvTranspose2d(3, 16, 3, 2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 32, 3, groups=2),
            nn.ConvTranspose2d(32, 32, 3, groups=32),
            nn.ConvTranspose2d(32, 4, 2),
        ),
        ((3, 6, 6),),
    ),
    "mlp": Case(
        lambda: nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 4)), ((8,),)
    ),
    "group_norms": Case(group_norms, IMAGE),
    "layer_norm": Case(layer_norm, IMAGE, 0.6, (("0", "GroupNorm"), ("4", "LayerNorm"))),
    "channel_shuffle": Case(
        lambda: plain(unit(3, 16), Shuffle(16), unit(16, 16), nn.ChannelShuffle(4), unit(16, 16)), IMAGE
    ),
    "pixel_shuffle": Case(
        lambda: nn.Sequential(
            unit(3, 16), conv(16, 64), nn.PixelShuffle(2), unit(16, 16), nn.PixelUnshuffle(2), conv(64, 4)
        ),
        IMAGE,
    ),
    "glu": Case(glu, IMAGE),
    "flatten": Case(
        lambda: nn.Sequential(
            unit(3, 16), nn.MaxPool2d(4), conv(16, 16), nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 4)
        ),
        IMAGE,
    ),
    "parametrized": Case(
        lambda: computed_weights(nn.utils.parametrizations.weight_norm),
        IMAGE,
        0.6,
        (("1", "parametrization"), ("0.0", "ParametrizedConv2d")),
    ),
    "recurrent": Case(recurrent, SIGNAL, 0.6, (("b", "GRU"),)),
    "text": Case(text, ((12,),), classes=50),
    "channel_tensors": Case(channel_tensors, IMAGE, 0.6, (("a", "when made smaller"), ("b", "parameter of its own"))),
    "functional_norm": Case(functional_norm, IMAGE, 0.6, (("a", "parameter of its own"),)),
    "hard_coded": Case(hard_coded, IMAGE, 0.6, (("a", "when made smaller"),)),
    "nested": Case(multi_level, IMAGE),
    "in_place": Case(in_place, IMAGE),
    "complex_skip": Case(complex_skip, IMAGE),
    "upsample_dropout": Case(
        lambda: nn.Sequential(
            unit(3, 16), nn.Dropout2d(0.2), nn.Upsample(scale_factor=2), unit(16, 16), nn.Dropout(0.1), conv(16, 4)
        ),
        IMAGE,
    ),
    "called_twice": Case(twice, IMAGE, 0.7, (("again", "called 2 times"),)),
    "auxiliary_head": Case(auxiliary, IMAGE, 0.6, (("a.0", "in training mode"),)),
}
