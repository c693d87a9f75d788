"""The wheel's list of what is inside it: CycloneDX, at the place that PEP 770 gives it."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from setuptools import Distribution

LICENSE = [{"license": {"id": "Apache-2.0"}}]  # Cython's, and our own


def write_sbom(information: Path, distribution: Distribution) -> None:
    """Writes ``sboms/vimnp.cdx.json`` into a wheel's ``.dist-info`` folder.

    What the wheel asks pip to install stands in ``METADATA`` and is not inside; a library that a
    later step copies in, as auditwheel does OpenMP's, gets a list from that step.
    """
    path = information / "sboms" / "vimnp.cdx.json"
    path.parent.mkdir(exist_ok=True)
    # No time and no random number: two builds write the same bytes.
    text = json.dumps(_contents(distribution), indent=2) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def _contents(distribution: Distribution) -> dict[str, object]:
    name, release = distribution.get_name(), distribution.get_version()
    package = _package(name, release) | {"licenses": LICENSE}
    inside = [_model(path) for path in sorted(Path("vimnp", "data").glob("*.npz"))]
    if distribution.has_ext_modules():
        inside.insert(0, _cython())
        if getattr(distribution.get_command_obj("build_ext"), "zig_target", ""):
            inside.insert(1, _zig())
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": package,
            "tools": {"components": [_package("setuptools", version("setuptools"))]},
        },
        "components": inside,
        "dependencies": [
            {"ref": package["bom-ref"], "dependsOn": [part["bom-ref"] for part in inside]}
        ],
    }


def _package(name: str, release: str) -> dict[str, object]:
    url = f"pkg:pypi/{name.lower()}@{release}"
    return {"type": "library", "bom-ref": url, "name": name, "version": release, "purl": url}


def _cython() -> dict[str, object]:
    """Part of what Cython is becomes C in the compiled module."""
    description = "run-time code, generated into vimnp/_scan"
    return _package("Cython", version("Cython")) | {
        "description": description,
        "licenses": LICENSE,
    }


def _zig() -> dict[str, object]:
    """Its run-time library is linked into what it builds, and on Windows mingw-w64's start."""
    try:
        zig = _package("ziglang", version("ziglang"))
    except PackageNotFoundError:  # a module that no installer knows of
        zig = {"type": "library", "bom-ref": "ziglang", "name": "ziglang"}
    return zig | {
        "description": "run-time code, linked into vimnp/_scan",
        "licenses": [{"license": {"id": "MIT"}}],
    }


def _model(path: Path) -> dict[str, object]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "type": "machine-learning-model",
        "bom-ref": path.as_posix(),
        "name": path.as_posix(),
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
