"""What `setup.py` adds to setuptools' own commands, beside the build of the kernels."""
