"""How large a job of a queue is, from what it is asked: said before its data are read, by ``hydra/launcher=slurm``."""

import math

PROCESS_GB = 3.0
"""Of a search on a small network: torch, the training of the dense network, and what its data are read from."""
WORKER_GB = 1.0
"""Of a process that evaluates beside it."""
FLOATS = 4 * 2
"""Bytes of a pixel: as it comes, and in the layout of the device."""
CHANNELS, SIDE = 3, 32
"""Of the images that come with the package, at most."""


def job_cores(threads: int | None, workers: str, count: int, each: int) -> int:
    """Return how many cores a search has something to do for.

    Args:
        threads: of torch, in the process of the search; one if it does not say.
        workers: ``none``, ``local`` or ``ray``.
        count: of workers, who evaluate while that process waits.
        each: threads of each.
    """
    return max(threads or 1, 1 if workers == "none" else count * each)


def job_memory_gb(calibration: int, search: int, side: int | None, workers: str, count: int) -> int:
    """Return how many GB a search takes: what is checked before it begins, and its processes, rounded up.

    Args:
        calibration: images.
        search: images.
        side: of an image, in pixels; ``None`` where the data set has its own.
        workers: ``none``, ``local`` or ``ray``.
        count: of workers.
    """
    images = (calibration + search) * CHANNELS * (side or SIDE) ** 2 * FLOATS
    processes = 0 if workers == "none" else count
    return math.ceil(PROCESS_GB + WORKER_GB * processes + images / 2**30)
