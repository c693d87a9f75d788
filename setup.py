"""Builds the extension; everything else stands in pyproject.toml.

``VIMNP_NO_KERNELS=1`` leaves it out, on purpose: what is installed then runs in plain NumPy.
"""

import os
import shlex
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError, PlatformError

sys.path.insert(0, str(Path(__file__).parent))  # a build's front end does not look in this folder
from setup_commands import clang_cl, zig
from setup_commands.same_bytes import Sdist, Wheel, settle_time

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
# Your CFLAGS come before ours and would lose: a -g or -fno-openmp among them holds.
CFLAGS = os.environ.get("CFLAGS", "").split()
# Python's own flags have -g, which would make the wheel twice as large.
NO_DEBUG_INFORMATION = [] if "-g" in CFLAGS else ["-g0"]
# Yours hold too where a trial links; Python's own have the folder of its libraries as a RPATH.
LDFLAGS = shlex.split(os.environ.get("LDFLAGS", ""))
RPATH = ("-Wl,-rpath,", "-Wl,-rpath=", "-Wl,-R")
# Clang's "fast" alone fuses even where a pragma forbids it, as csrc/isa.h does for scalar kernels.
HONORING_PRAGMAS = "-ffp-contract=fast-honor-pragmas"
# GCC for AArch64: constants beside the code take one instruction to fetch, and not two; the scan
# fetches 44 of them for each token.
LITERALS_FLAG = "-mpc-relative-literal-loads"
OPENMP_FLAG = {"unix": "-fopenmp", "mingw32": "-fopenmp", "msvc": "/openmp"}
WITHOUT_OPENMP = "-fno-openmp"  # among your CFLAGS: for threads of the kernels' own
POOL_FLAG = "-pthread"

TRIAL = "int main(void) { return 0; }"
OPENMP_TRIAL = "#include <omp.h>\nint main(void) { return omp_get_num_threads(); }"
POOL_TRIAL = "#include <pthread.h>\nint main(void) { return pthread_self() == 0; }"

NO_KERNELS = "VIMNP_NO_KERNELS"
NO_COMPILER = (
    "vimnp's kernels need a C compiler: gcc or clang. Where there is none, install a wheel, or set "
    f"{NO_KERNELS}=1 for vimnp in plain NumPy, which is many times slower"
)


class BuildKernels(build_ext):
    """Finds the compiler, and adds its flags and those for threads that a trial shows to work."""

    def build_extensions(self) -> None:
        try:
            self._add_flags()
            super().build_extensions()
        except (CompileError, LinkError, PlatformError) as error:
            raise type(error)(f"{error}. {NO_COMPILER}") from error

    def _add_flags(self) -> None:
        self.zig_target, self.threads_are_ours = zig.NAMED_TARGET, False
        if self.compiler.compiler_type == "msvc" and not self.zig_target:
            flags = self._choose_for_windows()
        else:
            flags = UNIX_FLAGS + NO_DEBUG_INFORMATION
        if self.zig_target:
            self.threads_are_ours = True
            self.compiler = zig.compiler(self.zig_target, self.compiler, CFLAGS, LDFLAGS)
            flags = [*UNIX_FLAGS, *NO_DEBUG_INFORMATION, *zig.FLAGS]
        kind = self.compiler.compiler_type
        if kind == "unix" and not self.zig_target:  # which has it among its own
            flags = [*flags, *self._flags_for_pragmas()]
        if "aarch64" in sysconfig.get_platform() and self._compiles_with([LITERALS_FLAG], TRIAL):
            flags = [*flags, LITERALS_FLAG]
        threads = self._flags_for_threads()
        for extension in self.extensions:
            extension.extra_compile_args = flags + threads
            extension.extra_link_args = [] if kind == "msvc" else threads
        if kind == "unix":
            # Where Python lies on the machine of the build is nothing for a wheel.
            linker = self.compiler.linker_so
            linker = [flag for flag in linker if flag in LDFLAGS or not flag.startswith(RPATH)]
            self.compiler.set_executables(linker_so=linker)

    def _choose_for_windows(self) -> list[str]:
        """clang-cl where Visual Studio is, or else zig, or else cl: setuptools ignores CC there."""
        found = clang_cl.find(self.plat_name)
        if found and clang_cl.has_visual_studio(self.compiler, self.plat_name):
            self.compiler.cc = found
            self.threads_are_ours = True
            return clang_cl.flags(UNIX_FLAGS, self.plat_name)
        if zig.is_installed() and self.plat_name in zig.WINDOWS_TARGETS:
            self.zig_target = zig.WINDOWS_TARGETS[self.plat_name]
            return []
        self.warn(
            "Visual Studio's compiler has no vector extensions: the kernels will be scalar and "
            "have one thread, and a pass will take several times as long. Install clang-cl, "
            "which is among Visual Studio's components, or `pip install ziglang`, and build again"
        )
        return ["/O2"]

    def get_ext_filename(self, fullname: str) -> str:
        """With the ending of the system that is built for, which may be another one than this."""
        name = super().get_ext_filename(fullname)
        if zig.NAMED_TARGET and name.endswith((".so", ".pyd")):
            return name.split(".", 1)[0] + zig.extension_ending(zig.NAMED_TARGET)
        return name

    def get_libraries(self, extension: Extension) -> list[str]:
        """For zig Python's own, which on Windows a linker of Visual Studio finds by itself."""
        if self.zig_target:
            return [*extension.libraries, *zig.libraries(self.zig_target)]
        return super().get_libraries(extension)

    def _flags_for_pragmas(self) -> list[str]:
        """For clang; GCC knows no such flag."""
        return [HONORING_PRAGMAS] if self._compiles_with([HONORING_PRAGMAS], TRIAL) else []

    def _flags_for_threads(self) -> list[str]:
        """For OpenMP, or else for the pool of csrc/pool.h, which on Windows needs none."""
        kind = self.compiler.compiler_type
        if self.threads_are_ours:  # clang-cl and zig bring no run-time of OpenMP
            return [] if kind == "msvc" or "windows" in self.zig_target else [POOL_FLAG]
        openmp = [OPENMP_FLAG[kind]] if kind in OPENMP_FLAG else []
        if WITHOUT_OPENMP not in CFLAGS and self._compiles_with(openmp, OPENMP_TRIAL):
            return openmp
        self.warn("without OpenMP: the kernels will use threads of their own")
        has_flag = kind == "unix" and self._compiles_with([POOL_FLAG], POOL_TRIAL)
        return [POOL_FLAG] if has_flag else []

    def _compiles_with(self, flags: list[str], trial: str) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "trial.c")
            source.write_text(trial)
            try:
                objects = self.compiler.compile([str(source)], folder, extra_preargs=flags)
                self.compiler.link_executable(
                    objects, "trial", folder, extra_preargs=flags, extra_postargs=LDFLAGS
                )
            except (CompileError, LinkError):
                return False
        return True


def wants_kernels() -> bool:
    value = os.environ.get(NO_KERNELS, "")
    if value not in ("", "0", "1"):
        sys.exit(f"{NO_KERNELS} is {value!r}; expected 1, for vimnp in plain NumPy, or 0")
    return value != "1"


def kernels() -> list[Extension]:
    from Cython.Build import cythonize  # for a compiler only

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

settle_time()
setup(
    ext_modules=kernels() if wants_kernels() else [],
    cmdclass={"build_ext": BuildKernels, "sdist": Sdist, "bdist_wheel": Wheel},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if wants_kernels() else {},
)
