"""Vision Mamba: its state dicts told from others, and its configuration inferred from them."""

from vimnp.convert.family import Converter
from vimnp.convert.vim.complete import complete
from vimnp.convert.vim.infer import examine, infer_config
from vimnp.convert.vim.recognise import is_vim
from vimnp.convert.vim.rename import without_prefix
from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.published import PUBLISHED

CONVERTER = Converter(
    title="Vision Mamba",
    example="layers.0.mixer.in_proj.weight",
    configuration=VimConfig,
    published=PUBLISHED,
    rename=without_prefix,
    recognise=is_vim,
    infer=infer_config,
    examine=examine,
    complete=complete,
)
