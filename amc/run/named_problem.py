"""The problem of a run as an environment: ``gymnasium.make("amc/Pruning-v0", model=..., data=...)``."""

from collections.abc import Sequence

from amc.config.composing import composed_search
from amc.run.plan import load_data, make_plan
from amc.run.stage import whole_run
from amc.training.dense import trained_network
from envs.pruning_env import PruningEnv


def named_problem(
    *,
    model: str | None = None,
    data: str | None = None,
    overrides: Sequence[str] = (),
    render_mode: str | None = None,
    **keys: object,
) -> PruningEnv:
    """Return the problem that ``python -m amc.search model=... data=...`` poses, with the network trained or read.

    Args:
        model: a choice of the group, as on the command line.
        data: a choice of the group.
        overrides: further arguments of the command line, such as ``train.epochs=1``.
        render_mode: of ``PruningEnv``.
        keys: of the command line by name: ``target=0.3``, ``reward="loss"``, ``criterion="l2"``.

    Raises:
        UserError: the command line would refuse it.
    """
    named = {"model": model, "data": data, **keys}
    cfg = composed_search([*(f"{key}={value}" for key, value in named.items() if value is not None), *overrides])
    splits = load_data(cfg)
    problem = whole_run(make_plan(cfg, splits), trained_network(cfg, splits)).problem
    problem.render_mode = PruningEnv.checked_render_mode(render_mode)
    return problem
