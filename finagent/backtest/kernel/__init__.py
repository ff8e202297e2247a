"""The kernel: the rules it declares in integers, compiled where numba is there, as they are written where it is not."""
