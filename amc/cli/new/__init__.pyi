from .questions import main as main
