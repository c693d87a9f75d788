"""VM-UNet: its state dicts told from others, and its configuration inferred from them."""

from vimnp.convert.family import Converter, Evaluation
from vimnp.convert.vmamba.infer import examine
from vimnp.convert.vmunet.infer import infer_config
from vimnp.convert.vmunet.recognise import is_vmunet, new_names
from vimnp.models.vmamba.spellings import network_shape
from vimnp.models.vmunet.config import VMUNetConfig
from vimnp.models.vmunet.published import PUBLISHED

CONVERTER = Converter(
    title="a VM-UNet",
    example="layers_up.0.blocks.0.self_attention.x_proj_weight",
    configuration=VMUNetConfig,
    published=PUBLISHED,
    rename=new_names,
    reshape=network_shape,
    recognise=is_vmunet,
    infer=infer_config,
    examine=examine,
    named_apart=True,
    # The original's numbers are those of a byte, and the lightest of a picture is 255.
    evaluation=Evaluation(
        {"crop_pct": 1.0, "mean": (0.0,) * 3, "std": (1 / 255,) * 3},
        "as in the original's evaluation, which also stretches each picture's numbers to 0 to 255",
    ),
)
