"""What the kernels can take."""

MAX_D_STATE = 256  # states of a channel; the original's CUDA kernel has the same bound
MAX_D_CONV = 64  # taps of the convolution
MAX_KERNEL = 7  # lines and columns of a depthwise kernel in two dimensions
