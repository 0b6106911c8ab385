from .pruning import prune as prune
from .result import PruneResult as PruneResult
