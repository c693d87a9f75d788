"""VMamba (MzeroMiko/VMamba): networks whose blocks scan a grid of tokens in four directions."""

from vimnp.models.vmamba.config import VMambaConfig
from vimnp.models.vmamba.tensors import tensors
from vimnp.weights.family import DTYPES_OF_PICTURES, Family

FAMILY = Family("vmamba", VMambaConfig, tensors, DTYPES_OF_PICTURES)
