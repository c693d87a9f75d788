"""PyPI's ziglang as the compiler: one program that compiles for every system, on every system."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

import setuptools  # noqa: F401  (from here on distutils is its own)

from distutils.ccompiler import new_compiler  # isort: skip

NAMED_TARGET = os.environ.get("VIMNP_ZIG_TARGET", "")
"""What to build for, in zig's words, such as ``x86_64-windows-gnu``; "" for another compiler."""

WINDOWS_TARGETS = {"win-amd64": "x86_64-windows-gnu", "win-arm64": "aarch64-windows-gnu"}
"""By Python's name of the platform."""

FLAGS = [
    "-fno-sanitize=all",  # by default zig has traps where C leaves the behaviour undefined
    # With plain "fast" clang ignores the pragma of isa.h that keeps scalar sums from being
    # fused, and on ARM their bits would depend on how a product is cut.
    "-ffp-contract=fast-honor-pragmas",
    "-Wno-incompatible-pointer-types-discards-qualifiers",
]


def is_installed() -> bool:
    return importlib.util.find_spec("ziglang") is not None


def extension_ending(target: str) -> str:
    """Of the file that Python on the target looks for."""
    return ".pyd" if "windows" in target else ".abi3.so"


def libraries(target: str) -> list[str]:
    """What an extension needs by name: on Windows what has Python's stable ABI."""
    return ["python3"] if "windows" in target else []


def compiler(target: str, like: Any, cflags: list[str], ldflags: list[str]) -> Any:
    """A compiler of setuptools for the target, with the folders of another one."""
    if not is_installed():
        sys.exit(f"building for {target} needs zig: `pip install ziglang`, and build again")
    windows, link = "windows" in target, ["-shared", "-Wl,-s", *ldflags]
    if "macos" in target:  # Python's symbols are found when it loads the file
        link += ["-Wl,-undefined,dynamic_lookup", "-Wl,-install_name,@rpath/_scan.abi3.so"]
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", target]
    made = new_compiler(compiler="unix", verbose=like.verbose, force=like.force)
    made.set_executables(
        compiler=zig,
        compiler_so=[*zig, *cflags, *([] if windows else ["-fPIC"])],
        linker_exe=zig,
        linker_so=[*zig, *link],
    )
    made.set_include_dirs(like.include_dirs)
    made.set_library_dirs(like.library_dirs if sys.platform == "win32" else [])
    return made
