"""Which channels go together, found in one forward pass: every value carries the channel that it depends on.

What leaves a layer is labelled, each channel with a number of its own. Beside every operation on labelled tensors the
same is done to their labels: moved where values are moved, and tied where values are mixed. Layers that read a labelled
channel are tied to it. So a single pass says what :mod:`envs.engine.tracing.nan_probing` asks for by many.
"""

from envs.engine.tracing.labels.label_pass import Labelled, follow_labels, stuck_to
from envs.engine.tracing.labels.label_tensors import NotFollowed

__all__ = ["Labelled", "NotFollowed", "follow_labels", "stuck_to"]
