"""The Mamba language model (state-spaces/mamba), and FalconMamba."""

from vimnp.models.mamba.config import MambaConfig
from vimnp.models.mamba.tensors import tensors
from vimnp.weights.family import Family
from vimnp.weights.metadata import DTYPES

FAMILY = Family("mamba", MambaConfig, tensors, dtypes=DTYPES)
