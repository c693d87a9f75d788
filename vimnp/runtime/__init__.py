"""What a process runs on: the compiled extension, threads, and NumPy's BLAS."""
