"""The Mamba language model (state-spaces/mamba), and FalconMamba."""

from vimnp.models.mamba.config import MambaConfig
from vimnp.models.mamba.tensors import tensors
from vimnp.weights.family import Family

FAMILY = Family(
    "mamba", MambaConfig, tensors, dtypes=("float32", "float16", "bfloat16", "int8", "int4")
)
