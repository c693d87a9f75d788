"""VM-UNet (JCruan519/VM-UNet): a U of VMamba's blocks, which says what each pixel shows."""

from vimnp.models.vmunet.config import VMUNetConfig
from vimnp.models.vmunet.tensors import tensors
from vimnp.weights.family import DTYPES_OF_PICTURES, Family

FAMILY = Family("vmunet", VMUNetConfig, tensors, DTYPES_OF_PICTURES)
