"""VMamba: its state dicts told from others, and its configuration inferred from them."""

from vimnp.convert.family import Converter
from vimnp.convert.vmamba.infer import examine, infer_config
from vimnp.convert.vmamba.recognise import is_vmamba
from vimnp.convert.vmamba.rename import new_names
from vimnp.convert.vmamba.training import read_training
from vimnp.models.vmamba.config import VMambaConfig
from vimnp.models.vmamba.published import PUBLISHED
from vimnp.models.vmamba.spellings import network_shape

CONVERTER = Converter(
    title="a VMamba",
    example="layers.0.blocks.0.op.x_proj_weight",
    configuration=VMambaConfig,
    published=PUBLISHED,
    rename=new_names,
    reshape=network_shape,
    recognise=is_vmamba,
    infer=infer_config,
    examine=examine,
    training=read_training,
    named_apart=True,
)
