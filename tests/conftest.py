import signal

import torch

# The tests' networks are so small that a second thread only costs, and on a busy machine twenty times as much.
torch.set_num_threads(1)

# Shells start what runs in the background with SIGINT ignored, and what tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
