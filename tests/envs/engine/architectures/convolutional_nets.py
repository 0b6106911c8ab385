"""The table of networks for images, signals and volumes, without attention."""

from blocks import Dense, PreActivation, Residual, Shuffle, Squeeze, UNet, conv, unit
from composed_nets import (
    auxiliary,
    channel_tensors,
    complex_skip,
    computed_weights,
    functional_norm,
    glu,
    group_norms,
    hard_coded,
    heads,
    in_place,
    inception,
    layer_norm,
    multi_level,
    plain,
    recurrent,
    text,
    twice,
    two_inputs,
)
from net_builder import Case
from own_layers import (
    NormAct,
    NormRelu,
    SamePadded,
    Standardised,
    StandardisedPadded,
    convolved,
    ghost,
    normed,
    remembering,
)
from torch import nn

IMAGE, SIGNAL, VOLUME = ((3, 12, 12),), ((3, 24),), ((2, 6, 6, 6),)

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
    "layer_norm": Case(layer_norm, IMAGE, whole=(("0", "GroupNorm"), ("4", "LayerNorm"))),
    "channel_shuffle": Case(
        lambda: plain(unit(3, 16), Shuffle(16), unit(16, 16), nn.ChannelShuffle(4), unit(16, 16)),
        IMAGE,
        0.75,
        (("0.0", "when made smaller"), ("2.0", "mixed")),
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
    "parametrized": Case(lambda: computed_weights(nn.utils.parametrizations.weight_norm), IMAGE),
    "spectral_norm": Case(lambda: computed_weights(nn.utils.spectral_norm), IMAGE),
    "recurrent": Case(recurrent, SIGNAL, whole=(("b", "GRU"),)),
    "text": Case(text, ((12,),), classes=50),
    "channel_tensors": Case(channel_tensors, IMAGE),
    "functional_norm": Case(functional_norm, IMAGE),
    "hard_coded": Case(hard_coded, IMAGE),
    "nested": Case(multi_level, IMAGE),
    "in_place": Case(in_place, IMAGE),
    "complex_skip": Case(complex_skip, IMAGE),
    "upsample_dropout": Case(
        lambda: nn.Sequential(
            unit(3, 16), nn.Dropout2d(0.2), nn.Upsample(scale_factor=2), unit(16, 16), nn.Dropout(0.1), conv(16, 4)
        ),
        IMAGE,
    ),
    "called_twice": Case(twice, IMAGE, whole=(("again", "called 2 times"),)),
    "norm_with_activation": Case(lambda: normed(NormAct), IMAGE),
    "norm_that_activates": Case(lambda: normed(NormRelu), IMAGE),
    "same_padded": Case(lambda: convolved(SamePadded), IMAGE),
    "standardised": Case(lambda: convolved(Standardised), IMAGE),
    "standardised_and_padded": Case(
        lambda: convolved(StandardisedPadded), IMAGE, 0.75, (("0", "mixed"), ("2.0", "mixed"))
    ),
    "remembering": Case(remembering, IMAGE),
    "ghost": Case(ghost, IMAGE),
    "auxiliary_head": Case(auxiliary, IMAGE, whole=(("a.0", "in training mode"),)),
}
