from .ddpg import AMCDDPG as AMCDDPG
from .policy import AMC as AMC
from .policy import PaperAMC as PaperAMC
from .sac import SACSearch as SACSearch
from .td3 import TD3Search as TD3Search
