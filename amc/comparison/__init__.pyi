from .publish import compare as compare
