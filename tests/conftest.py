import torch

# The tests' networks are so small that a second thread only costs, and on a busy machine twenty times as much.
torch.set_num_threads(1)
