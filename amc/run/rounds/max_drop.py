"""Runs with ``max_drop``: their rounds are played on stages, and what is found is judged again behind fine-tuning."""

from typing import NamedTuple, Protocol

from amc.errors import ModelError
from amc.run.stage import SearchPlan, Stage, at_stage
from envs.costs.max_drop import Floor, play_rounds
from envs.engine.types import Evaluation
from envs.search import Trial


class Round(Protocol):
    """Plays a round of a search."""

    def __call__(self, stage: Stage, *, episodes: int, before: int) -> list[Trial]:
        """Play so many episodes on a stage, behind so many trials of before, and return the new trials."""


class LowestStage(NamedTuple):
    """What a run with ``max_drop`` came to.

    Attributes:
        stage: with the smallest target at which the metric holds.
        trials: of all rounds; feasible are those that meet this target and hold the metric.
        floor: what the metric must not fall below.
    """

    stage: Stage
    trials: list[Trial]
    floor: Floor

    def check(self, found: Evaluation) -> None:
        """See that what was found holds the metric behind fine-tuning, too.

        Raises:
            ModelError: it does not.
        """
        if not self.floor.holds(found.metric):
            raise ModelError(
                f"max_drop={self.floor.max_drop}: top-1 on search is {found.metric:.4f} behind fine-tuning and was "
                f"{self.floor.dense:.4f} dense; finetune.epochs or finetune.lr_factor may help"
            )


def search_lowest(plan: SearchPlan, stage: Stage, play: Round) -> LowestStage | None:
    """Search for the smallest network that loses no more than the plan's ``max_drop``; ``None`` if it has none.

    Args:
        plan: of the run.
        stage: the run's only one.
        play: plays a round.

    Raises:
        TargetError: no strategy loses so little.
    """
    problem = plan.problem
    if problem.max_drop is None:
        return None
    floor = Floor(plan.score(stage.network).metric, problem.max_drop, problem.resource)

    def one_round(target: float, episodes: int, before: int) -> list[Trial]:
        return play(at_stage(plan, stage, stage.number, target), episodes=episodes, before=before)

    lowest = play_rounds(one_round, floor, stage.problem.budget, problem.episodes)
    return LowestStage(at_stage(plan, stage, stage.number, lowest.target), lowest.trials, floor)
