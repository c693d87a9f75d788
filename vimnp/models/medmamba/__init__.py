"""MedMamba (YubiaoYue/MedMamba): half of the channels through VMamba's block, half convolved."""

from vimnp.models.medmamba.config import MedMambaConfig
from vimnp.models.medmamba.tensors import tensors
from vimnp.weights.family import DTYPES_OF_PICTURES, Family

FAMILY = Family("medmamba", MedMambaConfig, tensors, DTYPES_OF_PICTURES)
