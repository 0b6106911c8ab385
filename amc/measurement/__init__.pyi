from .latency import Latency as Latency
from .latency import measure_latency as measure_latency
from .sparse_kernels import InHalf as InHalf
from .sparse_kernels import has_sparse_kernels as has_sparse_kernels
from .sparse_kernels import kernel_note as kernel_note
from .sparse_kernels import on_sparse_kernels as on_sparse_kernels
