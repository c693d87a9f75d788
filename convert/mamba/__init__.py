"""Mamba language models: their state dicts told from others, and their configuration inferred."""

from vimnp.convert.family import Converter
from vimnp.convert.mamba.beside import read_beside
from vimnp.convert.mamba.infer import examine, infer_config
from vimnp.convert.mamba.recognise import is_mamba
from vimnp.convert.mamba.rename import original_names
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.mamba.tensors import EMBEDDING, HEAD

CONVERTER = Converter(
    title="a Mamba language model",
    example=EMBEDDING,
    configuration=MambaConfig,
    published={},
    rename=original_names,
    recognise=is_mamba,
    infer=infer_config,
    examine=examine,
    beside=read_beside,
    twins={HEAD: EMBEDDING},
    takes_text=True,
)
