"""The table of names says of every published network where it is."""

from __future__ import annotations

from vimnp.hub.names import origins
from vimnp.models.mamba.published import PUBLISHED as MAMBAS
from vimnp.models.vim.published import PUBLISHED as VIMS
from vimnp.models.vmamba.published import FILES
from vimnp.models.vmamba.published import PUBLISHED as VMAMBAS


def test_every_published_network_has_a_name() -> None:
    names = origins()
    for expected in (*(f"vim-{name}" for name in VIMS), *VMAMBAS, *MAMBAS):
        origin = names[expected]
        assert origin.network == expected.removeprefix("vim-")
        assert origin.config is not None
    assert {origin.file for origin in names.values() if origin.release} == {*FILES}


def test_what_is_said_of_a_name_makes_sense() -> None:
    for name, origin in origins().items():
        assert name == name.lower()
        assert "/" not in name
        assert origin.licence
        assert len(origin.repository.split("/")) == 2
        assert origin.sha256 is None or len(origin.sha256) == 64
        assert origin.release is None or origin.release.startswith("https://")
        if origin.config is None:  # FalconMamba's weights tell their sizes
            assert name.startswith("falcon")


def test_vims_licence_is_what_its_card_says() -> None:
    for name, origin in origins().items():
        if name.startswith("vim-"):
            assert "non-commercial" in origin.licence
