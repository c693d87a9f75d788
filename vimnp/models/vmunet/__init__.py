"""VM-UNet (JCruan519/VM-UNet): a U of VMamba's blocks, which says what each pixel shows."""

from vimnp.models.vmunet.config import VMUNetConfig
from vimnp.models.vmunet.tensors import tensors
from vimnp.weights.family import Family

FAMILY = Family("vmunet", VMUNetConfig, tensors)
