"""The configuration of a Vision Mamba, by the name that it has had from the first version on."""

from vimnp.images.sizes import MOST_PIXELS as MOST_PIXELS
from vimnp.images.sizes import parse_img_size as parse_img_size
from vimnp.models.vim.config import BIMAMBA_TYPES as BIMAMBA_TYPES
from vimnp.models.vim.config import CHANNELS as CHANNELS
from vimnp.models.vim.config import POOL_TYPES as POOL_TYPES
from vimnp.models.vim.config import VimConfig as VimConfig
from vimnp.models.vim.published import PUBLISHED as PUBLISHED
from vimnp.models.vim.published import VIM_BASE as VIM_BASE
from vimnp.models.vim.published import VIM_SMALL as VIM_SMALL
from vimnp.models.vim.published import VIM_SMALL_STRIDE8 as VIM_SMALL_STRIDE8
from vimnp.models.vim.published import VIM_TINY as VIM_TINY
from vimnp.models.vim.published import VIM_TINY_ROPE as VIM_TINY_ROPE
from vimnp.models.vim.published import VIM_TINY_STRIDE8 as VIM_TINY_STRIDE8
from vimnp.ops.limits import MAX_D_CONV as MAX_D_CONV
from vimnp.ops.limits import MAX_D_STATE as MAX_D_STATE
