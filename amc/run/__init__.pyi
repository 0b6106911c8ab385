from .pipeline import run_search as run_search
from .plan import load_data as load_data
from .plan import make_plan as make_plan
from .plan import make_policy as make_policy
from .plan import part as part
from .stage import Stage as Stage
from .stage import make_engine as make_engine
from .stage import whole_run as whole_run
