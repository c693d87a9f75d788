"""Clang in the place of Visual Studio's compiler, which has no vector extensions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from setuptools.errors import PlatformError


def find(plat_name: str) -> str | None:
    """On the path, among the components of Visual Studio, or LLVM's own."""
    programs = Path(os.environ.get("PROGRAMFILES", "C:/Program Files"))
    machine = "ARM64" if plat_name == "win-arm64" else "x64"
    inside = f"Microsoft Visual Studio/*/*/VC/Tools/Llvm/{machine}/bin/clang-cl.exe"
    found = [*sorted(programs.glob(inside)), *programs.glob("LLVM/bin/clang-cl.exe")]
    return shutil.which("clang-cl") or next(map(str, found), None)


def has_visual_studio(compiler: Any, plat_name: str) -> bool:
    """Whether its headers and linker are there, which clang needs; the compiler is setuptools'."""
    if not compiler.initialized:
        try:
            compiler.initialize(plat_name)
        except PlatformError:
            return False
    return True


def flags(unix_flags: list[str], plat_name: str) -> list[str]:
    """It speaks cl's language, and passes on what stands behind /clang: (-O3 after /O2)."""
    machine = ["--target=arm64-pc-windows-msvc"] if plat_name == "win-arm64" else []
    honoring = "-ffp-contract=fast-honor-pragmas"  # as in zig.py
    return [*machine, "/O2", *(f"/clang:{flag}" for flag in [*unix_flags, honoring])]
