"""Channel groups of networks in which labels get lost: from torch-pruning's graph, or by experiment."""

from collections.abc import Sequence
from dataclasses import replace
from time import thread_time

from torch import nn

from envs.engine.errors import GraphError, first_line
from envs.engine.network.calls import Call, Inputs
from envs.engine.network.isolation import copy_network, random_state_kept
from envs.engine.network.modules import reader_of
from envs.engine.network.time_limit import TimeIsUp, time_limit
from envs.engine.tracing.nan_probing import tie_by_probing
from envs.engine.tracing.network_graph import NetworkGraph, Way, graph_of, new_ties
from envs.engine.tracing.preflight import count_flops
from envs.engine.tracing.torch_pruning_graph import knows_kind, tie_by_autograd

TRACE_SECONDS, TRACE_PASSES = 3.0, 5.0
"""torch-pruning's graph may take so long, and that many times a forward pass with gradients."""
PROBE_SECONDS = 120.0


def trace_otherwise(
    model: nn.Module, example_inputs: Inputs, calls: dict[str, Call], ignore: Sequence[str]
) -> NetworkGraph:
    """Find the same in autograd's graph, as torch-pruning reads it.

    Where it cannot, takes too long (``TRACE_SECONDS``) or does not know a layer that ``LAYER_KINDS`` has, channels are
    followed by experiment (:mod:`envs.engine.tracing.nan_probing`).

    Args:
        model: the network, which is not touched.
        example_inputs: what it is called with.
        calls: how its modules are called then.
        ignore: names of modules that keep all their channels.

    Raises:
        GraphError: the network cannot be traced.
    """
    model = copy_network(model, share=True).requires_grad_(True)
    with random_state_kept():
        # On a copy: torch-pruning's hooks stay behind when it fails. Taken before a pass with gradients, as some
        # networks keep what they computed, and then cannot be copied.
        network = copy_network(model, share=True)
        started = thread_time()
        try:
            flops = count_flops(model, example_inputs)
        except Exception as error:  # whatever the user's forward raises
            raise GraphError(f"the model fails when gradients are on: {first_line(error)}") from error
        if any(reader_of(name, module) for name, module in model.named_modules()):
            # torch-pruning takes what a module keeps to itself for what leaves it.
            return group_by_nan_probing(model, example_inputs, calls, flops, ignore)
        try:
            with time_limit(TRACE_SECONDS + TRACE_PASSES * (thread_time() - started)):
                ties = new_ties(model, calls, ignore)
                folds = tie_by_autograd(ties, network, example_inputs, calls)
        except (Exception, TimeIsUp):  # torch-pruning's own errors, of any kind
            return group_by_nan_probing(model, example_inputs, calls, flops, ignore)
    if not all(knows_kind(model.get_submodule(name)) for name, _ in ties.widths):
        return replace(group_by_nan_probing(model, example_inputs, calls, flops, ignore), folds=folds)
    return graph_of(model, ties, NetworkGraph((), calls, folds, {}, flops, tuple(ignore), Way.AUTOGRAD))


def group_by_nan_probing(
    model: nn.Module, inputs: Inputs, calls: dict[str, Call], flops: float, ignore: Sequence[str]
) -> NetworkGraph:
    """Find the channel groups by experiment.

    Raises:
        GraphError: the network cannot be probed, or not within ``PROBE_SECONDS``.
    """
    ties = new_ties(model, calls, ignore)
    try:
        with time_limit(PROBE_SECONDS), random_state_kept():
            tie_by_probing(ties, model, inputs, calls, PROBE_SECONDS)
    except TimeIsUp as error:
        raise GraphError(
            f"cannot trace {type(model).__name__} within {PROBE_SECONDS:.0f} s: smaller example inputs may help"
        ) from error
    except Exception as error:  # whatever the user's forward raises
        raise GraphError(f"cannot trace {type(model).__name__}: {first_line(error)}") from error
    return graph_of(model, ties, NetworkGraph((), calls, (), {}, flops, tuple(ignore), Way.PROBING))
