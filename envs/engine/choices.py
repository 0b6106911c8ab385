"""Names that settings choose from, and which go together. No torch: a typo is answered at once."""

from envs.engine.plugins import is_own, nearest

UNITS = {"channel": "channels", "block": "blocks", "channel_block": "channels and blocks"}
UNITS |= {"element": "weights", "vector": "vectors", "kernel": "kernels", "n_m": "weights"}
"""What every granularity removes, in words."""

CUTS_CHANNELS = ("channel", "channel_block")
SMALLER = ("block", *CUTS_CHANNELS)
"""Granularities that leave a smaller network, whose remaining layers least squares repair; the others set masks."""

ANY_GRANULARITY = ("l1", "l2", "obd", "taylor", "random")
"""Criteria that give every weight a value, so that any set of weights has one."""

CHANNELS_ONLY = ("bn_scale", "apoz", "regression")
"""Criteria that look at channels as a whole: their scale, their activations, their part in the next layer's output."""

CURVATURES = ("fisher", "hutchinson")
"""Ways to estimate the diagonal of the Hessian for ``obd``."""

REPAIRS = ("independent", "compensating", "finalists")
"""How least squares repair a layer: as if all others were dense; making up for the errors of those before it; or the
former for candidates, the latter for networks that are handed over or fine-tuned."""

PRECISIONS = ("auto", "fp32", "bf16")
"""Number formats that candidates run in, see ``envs.engine.scoring.precision``."""

SCORINGS = ("full", "racing", "coreset")
"""How many images of the search split a candidate is scored on: all, or as many as show that it is behind the best, or
the same few for all candidates, chosen beforehand."""

COSTS = ("flops", "params", "memory", "latency", "memory_peak")
"""Resources that an engine knows without measuring a network; latency from a table of its layers that was measured."""


def check_combination(granularity: str, criterion: str) -> None:
    """Refuse a criterion that has no meaning for a granularity.

    Raises:
        ValueError: a name is unknown, or the two do not go together; one line says what does.
    """
    if granularity not in UNITS and not is_own("granularities", granularity):
        raise ValueError(f"granularity={granularity!r}: choose one of {', '.join(UNITS)}{nearest(granularity, UNITS)}")
    if criterion not in (*ANY_GRANULARITY, *CHANNELS_ONLY) and not is_own("criteria", criterion):
        names = (*ANY_GRANULARITY, *CHANNELS_ONLY)
        raise ValueError(f"criterion={criterion!r}: choose one of {', '.join(names)}{nearest(criterion, names)}")
    if criterion in CHANNELS_ONLY and granularity not in CUTS_CHANNELS:
        raise ValueError(
            f"criterion={criterion} ranks channels, so it goes with granularity=channel or channel_block; "
            f"granularity={granularity} goes with {', '.join(ANY_GRANULARITY)}"
        )
