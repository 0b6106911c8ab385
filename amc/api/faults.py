"""What fails in a caller's own network or function, in one line that says where."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from envs.engine.errors import first_line
from envs.engine.network.batches import take
from envs.engine.network.calls import Inputs, described, forward
from envs.engine.network.isolation import copy_network


@contextmanager
def naming(batches: str, model: nn.Module, inputs: Inputs) -> Iterator[None]:
    """Say of an error that it is the network's, where that fails on these batches by itself.

    Args:
        batches: what they are called.
        model: the network.
        inputs: the batches, put together.

    Raises:
        ValueError: it does.
    """
    try:
        yield
    except Exception as error:
        try:
            with torch.no_grad():
                forward(copy_network(model), take(inputs, slice(1)))
        except Exception as fault:  # whatever the user's forward raises
            raise ValueError(
                f"{batches}: the network cannot be called with {described(take(inputs, slice(1)))}: {first_line(fault)}"
            ) from error
        raise


def saying_what_it_got(output: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that picks an output and, where it fails, says of what."""

    def pick(outputs: Any) -> Any:  # noqa: ANN401  whatever a network returns
        try:
            return output(outputs)
        except Exception as error:  # whatever the user's function raises
            what = f"{type(error).__name__}: {first_line(error)}"
            raise ValueError(f"output fails on {described(outputs)} ({what})") from error

    return pick
