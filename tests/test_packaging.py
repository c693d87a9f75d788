"""What a checkout is built into: the same bytes everywhere, and what is inside is stated."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.processes import is_ours

ROOT = Path(__file__).parents[1]
FOLDERS = ["vimnp", "convert", "setup_commands"]
FILES = [
    "setup.py",
    "vimnp_command.py",
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
]

pytestmark = pytest.mark.skipif(
    not (ROOT / "setup.py").exists(), reason="the tests lie beside no checkout"
)


def copy_checkout(folder: Path) -> Path:
    """What the build needs, without what a build leaves behind."""
    pytest.importorskip("setuptools", "77", reason="needs setuptools, to build")
    left = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "_scan.c")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=left)
    for name in FILES:
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def build(
    folder: Path, kind: str, *, umask: int = 0o022, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a hook of the build in a checkout: what is made lies in ``dist`` there."""
    if "VIMNP_NO_KERNELS" not in environment:
        pytest.importorskip("Cython", reason="needs Cython, to build")
    keep = {name: value for name, value in os.environ.items() if not is_ours(name)}
    for name in ("SOURCE_DATE_EPOCH", "CFLAGS", "LDFLAGS", "CC"):
        keep.pop(name, None)
    command = f"import os, setuptools.build_meta as m; os.umask({umask}); m.build_{kind}('dist')"
    return subprocess.run(
        [sys.executable, "-c", command],
        cwd=folder,
        env=keep | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def made(folder: Path, kind: str, **environment: str) -> Path:
    done = build(folder, kind, **environment)
    assert done.returncode == 0, done.stderr
    (archive,) = (folder / "dist").glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return archive


@pytest.fixture
def checkouts(tmp_path: Path) -> tuple[Path, Path]:
    """Two that differ in what a builder may have done: names, times, modes, an earlier build."""
    one = copy_checkout(tmp_path / "one")
    other = copy_checkout(tmp_path / "a folder" / "with a longer name")
    for path in other.rglob("*"):
        os.utime(path, (10**9, 10**9))
        path.chmod(0o700 if path.is_dir() else 0o600)
    (other / "notes.txt").write_text("not part of it\n")
    (other / "vimnp.egg-info").mkdir()
    (other / "vimnp.egg-info" / "SOURCES.txt").write_text("notes.txt\n")
    return one, other


def test_sdists_are_the_same_bytes(checkouts: tuple[Path, Path]) -> None:
    one, other = (made(folder, "sdist") for folder in checkouts)
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()
    with tarfile.open(one) as archive:
        members = archive.getmembers()
    assert {member.mtime for member in members} == {315532800}
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}
    assert {member.mode for member in members if member.isfile()} == {0o644}
    names = [member.name.split("/", 1)[-1] for member in members]
    assert {"setup.py", "setup_commands/sbom.py", "vimnp/_scan.pyx"} <= set(names)


def test_wheels_are_the_same_bytes(checkouts: tuple[Path, Path]) -> None:
    one = made(checkouts[0], "wheel", VIMNP_NO_KERNELS="1")
    build(checkouts[1], "wheel", umask=0o077, VIMNP_NO_KERNELS="1")
    assert one.read_bytes() == (checkouts[1] / "dist" / one.name).read_bytes()


def test_the_time_is_what_the_caller_states(tmp_path: Path) -> None:
    folder = copy_checkout(tmp_path / "checkout")
    with tarfile.open(made(folder, "sdist", SOURCE_DATE_EPOCH="1700000000")) as archive:
        assert {member.mtime for member in archive} == {1700000000}
    wheel = made(folder, "wheel", SOURCE_DATE_EPOCH="1700000000", VIMNP_NO_KERNELS="1")
    assert {member.date_time[:3] for member in zipfile.ZipFile(wheel).infolist()} == {
        (2023, 11, 14)
    }


def test_a_wheel_without_kernels(tmp_path: Path) -> None:
    """It needs no compiler, and says what is inside."""
    folder = copy_checkout(tmp_path / "checkout")
    wheel = made(folder, "wheel", VIMNP_NO_KERNELS="1", CC=str(tmp_path / "no compiler"))
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (path,) = (name for name in names if "/sboms/" in name)
        contents = json.loads(archive.read(path))
        records = archive.read(path.split("/")[0] + "/RECORD").decode()
        models = {n: hashlib.sha256(archive.read(n)).hexdigest() for n in names if ".npz" in n}
        modes = {member.external_attr >> 16 for member in archive.infolist()}
    assert path.endswith(".dist-info/sboms/vimnp.cdx.json")
    assert f"\n{path},sha256=" in records
    assert (contents["bomFormat"], contents["specVersion"]) == ("CycloneDX", "1.6")
    assert contents["metadata"]["component"]["purl"].startswith("pkg:pypi/vimnp@")
    listed = {part["name"]: part["hashes"][0]["content"] for part in contents["components"]}
    assert listed == models
    assert not any(name.startswith("vimnp/_scan.") and name[-1] != "i" for name in names)
    assert modes <= {stat.S_IFREG | 0o644, stat.S_IFREG | 0o664}


def test_a_switch_that_means_nothing_is_refused(tmp_path: Path) -> None:
    done = build(copy_checkout(tmp_path / "checkout"), "wheel", VIMNP_NO_KERNELS="yes")
    assert done.returncode != 0
    assert "VIMNP_NO_KERNELS is 'yes'; expected 1, for vimnp in plain NumPy, or 0" in done.stderr


# A compiler that keeps a list of what it was asked for, and makes empty files.
COMPILER = r"""#!/bin/sh
echo "$@" >>"{calls}"
[ "{fails}" = no ] || case "$*" in *_scan*) exit 1 ;; esac
case "$*" in *{refused}*) exit 1 ;; esac
while [ $# -gt 0 ]; do [ "$1" = -o ] && : >"$2"; shift; done
"""


def checkout_with_compiler(
    tmp_path: Path, *, fails: str, refused: str = "--no-such-option"
) -> tuple[Path, Path, Path]:
    """A checkout whose extension is one line, a compiler, and the list of its calls."""
    if os.name != "posix":
        pytest.skip("the compiler is a shell script")
    folder = copy_checkout(tmp_path / "checkout")
    (folder / "vimnp" / "_scan.pyx").write_text("version = ''\n")
    compiler, calls = tmp_path / "cc", tmp_path / "calls"
    compiler.write_text(COMPILER.format(calls=calls, fails=fails, refused=refused))
    compiler.chmod(0o755)
    return folder, compiler, calls


def test_flags_of_the_linker(tmp_path: Path) -> None:
    """The trial for OpenMP heeds the caller's; the path of the builder's Python is in no wheel."""
    folder, compiler, calls = checkout_with_compiler(tmp_path, fails="no")
    made(
        folder,
        "wheel",
        CC=str(compiler),
        LDSHARED=f"{compiler} -shared -Wl,-rpath,/builder/lib -Wl,-R/builder/lib -L/builder/lib",
        LDFLAGS="-L/mine/lib -Wl,-rpath,/mine/lib",
    )
    links = [call for call in calls.read_text().splitlines() if " -c " not in f" {call} "]
    trials = [call for call in links if "_scan" not in call]
    assert any("-fopenmp" in call for call in trials)
    assert all("-L/mine/lib -Wl,-rpath,/mine/lib" in call for call in links)
    (extension,) = (call for call in links if "_scan" in call)
    assert "-L/builder/lib" in extension
    assert "rpath,/builder" not in extension
    assert "-R/builder" not in extension


@pytest.mark.parametrize("heeds", [True, False], ids=["clang", "gcc"])
def test_clang_fuses_no_operations_where_a_pragma_forbids_it(tmp_path: Path, heeds: bool) -> None:
    """GCC knows no such option, and heeds its own pragma anyway."""
    option = "-ffp-contract=fast-honor-pragmas"
    refused = "--no-such-option" if heeds else option
    folder, compiler, calls = checkout_with_compiler(tmp_path, fails="no", refused=refused)
    made(folder, "wheel", CC=str(compiler), LDSHARED=f"{compiler} -shared")
    (compiled,) = (call for call in calls.read_text().splitlines() if "-c vimnp/_scan.c" in call)
    given = compiled.split()
    assert (option in given) == heeds
    assert not heeds or given.index(option) > given.index("-ffp-contract=fast")


def test_where_there_is_no_compiler_the_error_says_how_to_do_without(tmp_path: Path) -> None:
    folder, compiler, _ = checkout_with_compiler(tmp_path, fails="yes")
    done = build(folder, "wheel", CC=str(compiler))
    assert done.returncode != 0
    assert "vimnp's kernels need a C compiler" in done.stderr
    assert "VIMNP_NO_KERNELS=1" in done.stderr


FAKE_ZIG = """import pathlib, sys
with open({calls!r}, "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_bytes(b"")
"""


@pytest.mark.parametrize(
    ("target", "extension", "options"),
    [
        ("x86_64-windows-gnu", "vimnp/_scan.pyd", {"-lpython3"}),
        ("aarch64-macos.11.0", "vimnp/_scan.abi3.so", {"-Wl,-undefined,dynamic_lookup", "-fPIC"}),
        ("x86_64-linux-musl", "vimnp/_scan.abi3.so", {"-pthread", "-fPIC"}),
    ],
)
def test_zig_builds_for_the_system_that_is_named(
    tmp_path: Path, target: str, extension: str, options: set[str]
) -> None:
    folder, compiler, calls = checkout_with_compiler(tmp_path, fails="yes")
    package = tmp_path / "modules" / "ziglang"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    metadata = package.parent / "ziglang-0.17.1.dist-info" / "METADATA"  # for the SBOM
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: ziglang\nVersion: 0.17.1\n")
    (package / "__main__.py").write_text(FAKE_ZIG.format(calls=str(calls)))
    wheel = made(
        folder,
        "wheel",
        CC=str(compiler),
        VIMNP_ZIG_TARGET=target,
        PYTHONPATH=str(package.parent),
        CFLAGS="-I/mine/include",
        LDFLAGS="-L/mine/lib",
    )
    with zipfile.ZipFile(wheel) as archive:
        assert [n for n in archive.namelist() if n.endswith((".so", ".pyd"))] == [extension]
    compiled, linked = calls.read_text().splitlines()[-2:]
    for call in (compiled, linked):
        assert call.startswith(f"cc -target {target} ")
    assert "-fno-sanitize=all" in compiled  # which would be traps
    assert "-I/mine/include" in compiled
    assert "-L/mine/lib" in linked
    assert options <= {*compiled.split(), *linked.split()}


def test_without_zig_the_error_says_what_to_install(tmp_path: Path) -> None:
    folder, compiler, _ = checkout_with_compiler(tmp_path, fails="no")
    if importlib.util.find_spec("ziglang"):
        pytest.skip("zig is installed")
    done = build(folder, "wheel", CC=str(compiler), VIMNP_ZIG_TARGET="x86_64-linux-musl")
    assert done.returncode != 0
    assert "pip install ziglang" in done.stderr


def test_clang_is_found_among_the_components_of_visual_studio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("setuptools", "77", reason="needs setuptools, to build")
    monkeypatch.syspath_prepend(str(ROOT))
    clang_cl = importlib.import_module("setup_commands.clang_cl")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PROGRAMFILES", str(tmp_path))
    assert clang_cl.find("win-amd64") is None
    visual_studio = tmp_path / "Microsoft Visual Studio" / "2022" / "Community"
    compilers = [visual_studio / "VC/Tools/Llvm" / m / "bin/clang-cl.exe" for m in ("x64", "ARM64")]
    for compiler in compilers:
        compiler.parent.mkdir(parents=True)
        compiler.touch()
    assert clang_cl.find("win-amd64") == str(compilers[0])
    assert clang_cl.find("win-arm64") == str(compilers[1])
