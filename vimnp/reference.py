"""The operations in plain NumPy, by the name that they have had from the first version on."""

from vimnp.ops.reference import *  # noqa: F403
