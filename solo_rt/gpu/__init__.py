"""One GPU, whoever uses it: its memory, our kernels on it, the way of a frame through it, its video engines."""
