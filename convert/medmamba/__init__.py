"""MedMamba: its state dicts told from others, and its configuration inferred from them."""

from vimnp.convert.family import Converter, Evaluation
from vimnp.convert.medmamba.infer import examine, infer_config
from vimnp.convert.medmamba.recognise import is_medmamba, new_names
from vimnp.models.medmamba.config import MedMambaConfig
from vimnp.models.medmamba.published import PUBLISHED
from vimnp.models.vmamba.spellings import network_shape

CONVERTER = Converter(
    title="a MedMamba",
    example="layers.0.blocks.0.conv33conv33conv11.0.running_mean",
    configuration=MedMambaConfig,
    published=PUBLISHED,
    rename=new_names,
    reshape=network_shape,
    recognise=is_medmamba,
    infer=infer_config,
    examine=examine,
    named_apart=True,
    evaluation=Evaluation({"crop_pct": 1.0, "mean": (0.5,) * 3, "std": (0.5,) * 3}),
)
