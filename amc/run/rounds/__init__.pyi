from .max_drop import LowestStage as LowestStage
from .max_drop import search_lowest as search_lowest
from .staged_pruning import StagePlayer as StagePlayer
from .staged_pruning import play_earlier as play_earlier
