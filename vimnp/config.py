"""The configuration of a Vision Mamba, by the name that it has had from the first version on."""

from vimnp.models.vim.config import *  # noqa: F403
from vimnp.models.vim.config import parse_img_size as parse_img_size
