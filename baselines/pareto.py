"""NSGA-II on accuracy and resource at once: one search that offers a network of every size up to the target."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from baselines.optuna_search import make_sampler, quiet_optuna, ratio_space
from envs.constraint import ROUNDING_ERROR, rescale
from envs.engine.fields import check_settings, setting
from envs.engine.settings import SEEDS
from envs.search import RecordTrials, play_strategy

SHARE = "share"


@dataclass(frozen=True)
class ParetoSearch:
    """Searches the front of metric against kept resource; ``envs.pareto.pareto_front`` reads it from the trials.

    A proposal is a ratio for each layer and the share of the resource that the network is to keep, between the least
    possible and the target. The ratios are scaled to that share by the cost model before they are played, so every
    size is tried, which ratios drawn one by one leave to chance. The environment has to play what fits as it is:
    ``bound`` does, ``rescale`` would grow every network to the target.

    Attributes:
        seed: the same seed gives the same trials.

    References:
        Deb et al., 2002, "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", IEEE Transactions on
        Evolutionary Computation 6 (2).
    """

    needs: ClassVar[Mapping[str, object]] = {"constraint": "bound"}

    seed: int = setting(0, SEEDS)

    def __post_init__(self) -> None:
        check_settings(self)

    def search(self, env: RecordTrials) -> None:
        """Play the sampler's proposals until no episode is left.

        Raises:
            ValueError: the environment rescales what it is given.
        """
        if env.problem.constraint != "bound":
            raise ValueError("policy=pareto needs constraint=bound: another makes all networks as large as the target")
        import optuna
        from optuna.distributions import FloatDistribution

        budget = env.problem.budget
        ratios = ratio_space(env)
        least = min(budget.usage(budget.floors) / budget.dense + ROUNDING_ERROR, budget.target)
        space = {**ratios, SHARE: FloatDistribution(least, budget.target)}
        with quiet_optuna():
            sampler = make_sampler("nsga2", self.seed)
            study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
            while env.remaining:
                asked = study.ask(dict(space))
                wanted = tuple(asked.params[name] for name in ratios)
                trial = play_strategy(env, rescale(replace(budget, target=asked.params[SHARE]), wanted))
                study.tell(asked, [trial.evaluation.metric, budget.usage(trial.strategy) / budget.dense])
