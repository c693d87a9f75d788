"""The names of the published networks: where the weights of each are, and under which licence.

What the networks are stands in ``models/*/published.py``; here is where they are to be had.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import NamedTuple

from vimnp.errors import HubError, excerpt
from vimnp.weights.family import Configuration


class Origin(NamedTuple):
    """Where the weights of a published network are.

    Parameters
    ----------
    repository : str
        "owner/name" on the Hugging Face Hub; or, of a release, on GitHub.
    licence : str
        As its page states it; the first download repeats it.
    family : str
        The network's.
    network : str, optional
        The published network that this is, by its name in the family's ``PUBLISHED``; None where
        the weights tell all.
    file : str, optional
        The checkpoint in the repository; by default the one that transformers would take.
    revision : str
        A commit, a branch or a tag.
    sha256 : str, optional
        Of the checkpoint, where that is known: another one is refused. The Hub tells the digest of
        every file besides.
    release : str, optional
        The folder's address where it is no repository of the Hub.
    tokenizer : str, optional
        The repository with the tokenizer, where this one has none.
    dtype : str
        What the weights are stored as where nobody says it: what holds the published numbers.
    """

    repository: str
    licence: str
    family: str
    network: str | None = None
    file: str | None = None
    revision: str = "main"
    sha256: str | None = None
    release: str | None = None
    tokenizer: str | None = None
    dtype: str = "float32"

    @property
    def config(self) -> Configuration | None:
        """The network's sizes and options; None where the weights tell them."""
        if self.network is None:
            return None
        networks = importlib.import_module(f"vimnp.models.{self.family}.published").PUBLISHED
        found: Configuration = networks[self.network]
        return found


_VIM_LICENCE = "non-commercial, says its card, whose header says apache-2.0"
_MAMBA_LICENCE = "apache-2.0"
_FALCON_LICENCE = "TII Falcon-Mamba License 2.0"
_RELEASES = "https://github.com/MzeroMiko/VMamba/releases/download"
_OF_RELEASE = {
    "vssmtiny_dp01_ckpt_epoch_292.pth": "%2320240218",
    "vssmsmall_dp03_ckpt_epoch_238.pth": "%2320240218",
    "vssmbase_dp06_ckpt_epoch_241.pth": "%2320240218",
    "vssmbase_dp05_ckpt_epoch_260.pth": "%2320240218",
    "vssmtiny_dp02_ckpt_epoch_258.pth": "%2320240220",
}
"""The tags, as addresses have them, of VMamba's first files. Later ones are in the following."""
_LATER_RELEASE = "%23v2cls"
_SECOND = {"vssmbase_dp05_ckpt_epoch_260.pth": "vmamba-base-dp05"}
"""The names of files whose network has a better one."""


def _vim(size: str, network: str, file: str, sha256: str | None = None) -> Origin:
    return Origin(
        f"hustvl/Vim-{size}", _VIM_LICENCE, "vim", network=network, file=file, sha256=sha256
    )


def _mamba(size: str, suffix: str = "") -> Origin:
    """A language model of state-spaces; those of transformers' layout bring their tokenizer."""
    return Origin(
        f"state-spaces/mamba-{size}{suffix}",
        _MAMBA_LICENCE
        if not suffix.startswith("-hf")
        else f"none stated; the original's is {_MAMBA_LICENCE}",
        "mamba",
        network=f"mamba-{size}",
        tokenizer=None if suffix == "-hf" else "EleutherAI/gpt-neox-20b",
    )


def _falcon(suffix: str = "") -> Origin:
    return Origin(f"tiiuae/falcon-mamba-7b{suffix}", _FALCON_LICENCE, "mamba", dtype="bfloat16")


_SIZES = ("130m", "370m", "790m", "1.4b", "2.8b")

_LISTED = {
    "vim-tiny": _vim("tiny-midclstok", "tiny", "vim_t_midclstok_76p1acc.pth"),
    "vim-small": _vim(
        "small-midclstok",
        "small",
        "vim_s_midclstok_80p5acc.pth",
        "aae4583e2def6389b66cfaf292cfade47a873182a39adbec19ec55b730ea9fe3",
    ),
    "vim-base": _vim("base-midclstok", "base", "vim_b_midclstok_81p9acc.pth"),
    "vim-tiny-stride8": _vim("tiny-midclstok", "tiny-stride8", "vim_t_midclstok_ft_78p3acc.pth"),
    "vim-small-stride8": _vim("small-midclstok", "small-stride8", "vim_s_midclstok_ft_81p6acc.pth"),
    "vim-tiny-rope": _vim("tiny", "tiny-rope", "vim_tiny_73p1.pth"),
    **{f"mamba-{size}": _mamba(size) for size in _SIZES},
    **{f"mamba-{size}-hf": _mamba(size, "-hf") for size in _SIZES},
    "mamba-2.8b-slimpj": _mamba("2.8b", "-slimpj"),
    "falcon-mamba-7b": _falcon(),
    "falcon-mamba-7b-instruct": _falcon("-instruct"),
}
"""All but VMamba's, which its own table of files gives."""


def origins() -> dict[str, Origin]:
    """Every name, and where its weights are.

    Licences are as the pages stated them when this was written.
    """
    return {**_LISTED, **dict(_vmambas())}


def _vmambas() -> Iterator[tuple[str, Origin]]:
    from vimnp.models.vmamba.published import FILES  # of another family most who ask are not

    for file, network in FILES.items():
        tag = _OF_RELEASE.get(file, _LATER_RELEASE)
        yield (
            _SECOND.get(file, network),
            Origin(
                "MzeroMiko/VMamba",
                "MIT",
                "vmamba",
                network=network,
                file=file,
                release=f"{_RELEASES}/{tag}",
            ),
        )


def origin_named(name: str) -> Origin:
    """The published network of this name.

    Raises
    ------
    HubError
        If there is none.
    """
    known = origins()
    if name not in known:
        import difflib  # no right name needs it

        close = difflib.get_close_matches(name, known, n=3)
        hint = f"is it {' or '.join(close)}? " if close else ""
        raise HubError(
            f"{excerpt(name)}: no name of published weights; {hint}`vimnp fetch` lists them, and "
            "owner/repository is one on the Hugging Face Hub"
        )
    return known[name]


def origin_in(repository: str, file: str | None) -> Origin | None:
    """The published network in a repository of the Hub: the first of several, or of this file."""
    for origin in _LISTED.values():
        if origin.repository.lower() == repository.lower() and file in (None, origin.file):
            return origin
    return None
