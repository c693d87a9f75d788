"""The networks that hustvl/Vim has published."""

from vimnp.models.vim.config import VimConfig

VIM_TINY = VimConfig()
VIM_SMALL = VimConfig(embed_dim=384)
VIM_BASE = VimConfig(embed_dim=768)
VIM_TINY_STRIDE8 = VimConfig(stride=8)
VIM_SMALL_STRIDE8 = VimConfig(embed_dim=384, stride=8)
VIM_TINY_ROPE = VimConfig(
    use_middle_cls_token=False, if_divide_out=False, if_rope=True, if_rope_residual=True
)

PUBLISHED = {
    "tiny": VIM_TINY,
    "small": VIM_SMALL,
    "base": VIM_BASE,
    "tiny-stride8": VIM_TINY_STRIDE8,
    "small-stride8": VIM_SMALL_STRIDE8,
    "tiny-rope": VIM_TINY_ROPE,
}
"""By the names that the command knows them by."""
