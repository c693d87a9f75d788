"""What the kernels see of the processor, against what the system says."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from vimnp.runtime import extension

CPUINFO = Path("/proc/cpuinfo")

# Linux's names of what an instruction set needs; it names nothing that it does not let through.
NEEDED = {
    "avx512vnni": {"avx512f", "avx512bw", "avx2", "fma", "avx512_vnni"},
    "avx512": {"avx512f", "avx512bw", "avx2", "fma"},
    "avxvnni": {"avx2", "fma", "avx_vnni"},
    "avx2": {"avx2", "fma"},
    "baseline": {"sse2"},
    "scalar": set(),
}


@pytest.mark.skipif(extension.loaded() is None, reason="needs the compiled kernels")
@pytest.mark.skipif(
    extension.loaded() is not None and extension.loaded().IMITATED,
    reason="the build imitates what the processor may lack",
)
@pytest.mark.skipif(
    platform.machine() != "x86_64" or not CPUINFO.exists(), reason="needs Linux on x86-64"
)
def test_an_instruction_set_is_usable_where_linux_says_so():
    lines = (line.split(":", 1) for line in CPUINFO.read_text().splitlines() if ":" in line)
    flags = next(set(value.split()) for name, value in lines if name.strip() == "flags")
    expected = {name: needed <= flags for name, needed in NEEDED.items()}
    found = extension.loaded().instruction_sets()
    assert found == {name: usable for name, usable in expected.items() if name in found}
    assert "scalar" in found
