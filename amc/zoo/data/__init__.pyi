from .building import load_splits as load_splits
from .dataset import Normalization as Normalization
from .dataset import Split as Split
from .dataset import Splits as Splits
from .device_data import DeviceData as DeviceData
from .registry import DATASETS as DATASETS
