"""Builds the extension; everything else stands in pyproject.toml."""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

STABLE_ABI = "0x030B0000"  # CPython 3.11: the first whose stable ABI has the buffer protocol

# GCC and clang: the arithmetic may fuse a * b + c and need not keep errno or the exception flags.
# No -ffast-math: it would delete the rounding trick of exp2 and set flush-to-zero for the process.
UNIX_FLAGS = [
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-Wno-psabi",
]
# Python's own flags have -g, which would make the wheel twice as large. Your CFLAGS come before
# ours and would lose: a -g among them holds.
NO_DEBUG_INFORMATION = [] if "-g" in os.environ.get("CFLAGS", "").split() else ["-g0"]
# GCC for AArch64: constants beside the code take one instruction to fetch, and not two; the scan
# fetches 44 of them for each token.
LITERALS_FLAG = "-mpc-relative-literal-loads"
OPENMP_FLAG = {"unix": "-fopenmp", "mingw32": "-fopenmp", "msvc": "/openmp"}

TRIAL = "int main(void) { return 0; }"
OPENMP_TRIAL = "#include <omp.h>\nint main(void) { return omp_get_num_threads(); }"


class BuildKernels(build_ext):
    """Adds the compiler's own flags, and OpenMP where a trial shows that it works."""

    def build_extensions(self) -> None:
        kind = self.compiler.compiler_type
        flags = ["/O2"] if kind == "msvc" else UNIX_FLAGS + NO_DEBUG_INFORMATION
        if "aarch64" in sysconfig.get_platform() and self._compiles_with([LITERALS_FLAG], TRIAL):
            flags = [*flags, LITERALS_FLAG]
        openmp = [OPENMP_FLAG[kind]] if kind in OPENMP_FLAG else []
        if not self._compiles_with(openmp, OPENMP_TRIAL):
            self.warn("the compiler has no OpenMP: the kernels will use one thread")
            openmp = []
        for extension in self.extensions:
            extension.extra_compile_args = flags + openmp
            extension.extra_link_args = [] if kind == "msvc" else openmp
        super().build_extensions()

    def _compiles_with(self, flags: list[str], trial: str) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "trial.c")
            source.write_text(trial)
            try:
                objects = self.compiler.compile([str(source)], folder, extra_preargs=flags)
                self.compiler.link_executable(objects, "trial", folder, extra_preargs=flags)
            except (CompileError, LinkError):
                return False
        return True


def kernels() -> list[Extension]:
    version = Distribution({"name": "vimnp"})
    version.parse_config_files()
    extension = Extension(
        "vimnp._scan",
        ["vimnp/_scan.pyx"],
        depends=[str(p) for p in [*Path("vimnp/csrc").glob("*.h"), *Path("vimnp").glob("*.pxi")]],
        include_dirs=["vimnp/csrc"],
        define_macros=[
            ("Py_LIMITED_API", STABLE_ABI),
            ("CYTHON_LIMITED_API", "1"),
            ("VIMNP_VERSION", f'"{version.get_version()}"'),
        ],
        py_limited_api=True,
    )
    return cythonize([extension])


# Up to CPython 3.14 the stable ABI needs the GIL; and nothing was tested without it.
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit("vimnp does not support free-threaded CPython: use the build with the GIL")

setup(
    ext_modules=kernels(),
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
