"""Batches side by side on the cores of a CPU.

A small network keeps several cores busy better with a batch each than with one batch cut into pieces, layer by layer:
on two cores MobileNet-V1 at half its FLOPs, 32x32, in bfloat16, is 1.07 times as fast, at a fifth 1.16 times
(``benchmarks/threads.py``). Every batch gives what it gives on one thread, so results do not depend on the cores.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import ceil

import torch
from torch import nn

from envs.engine.network.isolation import copy_structure
from envs.engine.threads import torch_threads


def run_batches(
    work: Callable[[nn.Module, slice], None], model: nn.Module, batches: Sequence[slice], device: torch.device
) -> None:
    """Call ``work`` with the network for every batch, without gradients.

    On a CPU batches are shared among as many threads as torch is set to use, each with a copy of the network that has
    the same parameters, so that a forward pass may keep notes in its module. Elsewhere they run one after the other.

    Args:
        work: must not depend on the order of the batches.
        model: in eval mode.
        batches: what ``work`` is called with.
        device: where the network is.
    """
    threads = min(torch.get_num_threads(), len(batches)) if device.type == "cpu" else 1
    waiting = deque(batches)
    dtype, is_reduced = torch.get_autocast_dtype(device.type), torch.is_autocast_enabled(device.type)

    def serve(network: nn.Module) -> None:
        # Both modes belong to a thread.
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=is_reduced):
            while waiting:
                try:
                    batch = waiting.popleft()
                except IndexError:
                    return
                work(network, batch)

    if threads <= 1:
        serve(model)
        return
    networks = [model, *(copy_structure(model) for _ in range(threads - 1))]
    # Threads started in the block use one core: torch hands its setting on to them.
    with torch_threads(1), ThreadPoolExecutor(threads) as pool:
        try:
            for served in [pool.submit(serve, network) for network in networks]:
                served.result()
        except BaseException:
            waiting.clear()
            raise


def even_batches(count: int, most: int) -> list[slice]:
    """Cut samples into batches of like size, an even number of them unless half a batch holds all.

    So two cores, four and so on end together, and the batches do not depend on how many there are.

    Args:
        count: samples.
        most: samples a batch.
    """
    number = 1 if 2 * count <= most else 2 * ceil(count / (2 * most))
    edges = [count * part // number for part in range(number + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges) if start < stop]
