"""From a network and an example input to its channel groups."""

from collections.abc import Sequence
from contextlib import suppress

from torch import Tensor, nn

from envs.engine.network.calls import Call, Inputs
from envs.engine.network.channels import ChannelTies
from envs.engine.network.isolation import copy_network, random_state_kept
from envs.engine.network.modules import BatchNorm, is_product
from envs.engine.network.time_limit import TimeIsUp, time_limit
from envs.engine.tracing.labels import Labelled, follow_labels, stuck_to
from envs.engine.tracing.network_graph import NetworkGraph, ResidualBlock, Way, graph_of, new_ties
from envs.engine.tracing.otherwise import group_by_nan_probing, trace_otherwise
from envs.engine.tracing.preflight import check_names, screen
from envs.engine.tracing.torch_pruning_graph import Folds

LABEL_SECONDS, FOLD_SECONDS = 120.0, 20.0

__all__ = ["NetworkGraph", "ResidualBlock", "Way", "find_folds", "group_by_nan_probing", "trace", "trace_otherwise"]


def trace(model: nn.Module, example_inputs: Inputs, ignore: Sequence[str] = ()) -> NetworkGraph:
    """Find what can be pruned in ``model`` and what each removal takes with it.

    One pass in which every value carries its channel says so for most networks (:mod:`envs.engine.tracing.labels`).
    Where labels get lost, :func:`~envs.engine.tracing.otherwise.trace_otherwise` does it.

    Args:
        model: the network, which is not touched.
        example_inputs: what it is called with; the batch may be one.
        ignore: names of modules that keep all their channels, and all modules inside them.

    Raises:
        GraphError: the network cannot be traced, or ``ignore`` names a module that it does not have.
    """
    network = copy_network(model, share=True).requires_grad_(True)
    check_names(network, ignore)
    found: list[tuple[ChannelTies, Labelled]] = []

    def run(calls: dict[str, Call]) -> Sequence[Tensor] | None:
        ties = new_ties(network, calls, ignore)
        try:
            with time_limit(LABEL_SECONDS):
                found.append((ties, follow_labels(ties, network, example_inputs, calls)))
        except (Exception, TimeIsUp):  # labels got lost, or whatever the user's forward raises
            return None
        return found[0][1].outputs

    with random_state_kept():
        calls = screen(network, example_inputs, ignore, run)
        if not found:
            return trace_otherwise(model, example_inputs, calls, ignore)
        ties, labelled = found[0]
        _keep_for_training(ties, network, example_inputs, calls)
    empty = NetworkGraph(
        (), calls, labelled.folds, {}, labelled.flops, tuple(ignore), Way.LABELS, labelled.own_parameters
    )
    return graph_of(network, ties, empty)


def _keep_for_training(ties: ChannelTies, network: nn.Module, inputs: Inputs, calls: dict[str, Call]) -> None:
    """Keep what layers read that are called in training mode only, as those of auxiliary heads."""
    if all(name in calls for name, module in network.named_modules() if is_product(module)):
        return
    for module in network.train().modules():
        if isinstance(module, BatchNorm):
            module.eval()  # statistics of a single sample may not exist
    with suppress(Exception):  # the user's forward may want something else in training
        stops = follow_labels(new_ties(network, calls, ()), network, inputs, calls).stops
        for name in stops.keys() - calls.keys():
            ties.freeze(stops[name], stuck_to(name, network.get_submodule(name), " in training mode"))
    network.eval()


def find_folds(model: nn.Module, example_inputs: Inputs, calls: dict[str, Call]) -> Folds:
    """Return which batch norms can be folded; none where the network cannot be read: that costs speed alone.

    Args:
        model: the network, which is not touched.
        example_inputs: what it is called with.
        calls: how its modules are called then.
    """
    network = copy_network(model, share=True).requires_grad_(True)
    try:
        with random_state_kept(), time_limit(FOLD_SECONDS):
            return follow_labels(new_ties(network, calls, ()), network, example_inputs, calls).folds
    except (Exception, TimeIsUp):  # labels got lost
        return ()
