from .building import new_network as new_network
from .mobilenet import MobileNet as MobileNet
from .registry import MODELS as MODELS
from .registry import TARGETS as TARGETS
from .registry import build_model as build_model
from .resnet import CifarResNet as CifarResNet
