"""Where the kernels are missing or switched off: said once, how to mend it, and right all the same.

Each case runs in a process of its own, because the kernels are chosen when vimnp is imported.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import vimnp
from tests.support.micro import MICRO
from tests.support.processes import run
from vimnp.models.vim import config
from vimnp.runtime import extension

# Prints the logits of a small network, as text that shows every bit.
LOGITS = """
import numpy as np, vimnp
config = vimnp.VimConfig(img_size=(32, 32), patch_size=8, stride=8, depth=2, embed_dim=24)
model = vimnp.VisionMamba.random(config=config)
pixels = np.linspace(-1, 1, 3 * 32 * 32, dtype=np.float32).reshape(3, 32, 32)
for _ in range(3):
    logits = model(pixels)
print(" ".join(map(repr, logits[:5].tolist())))
"""


def numbers(result: subprocess.CompletedProcess[str]) -> list[float]:
    return [float(word) for word in result.stdout.split()]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder as a checkout's root is after a plain install: the sources, nothing built."""
    built = shutil.ignore_patterns("_scan*.so", "_scan*.pyd", "_scan*.c", "__pycache__")
    shutil.copytree(Path(vimnp.__file__).parent, tmp_path / "vimnp", ignore=built)
    return tmp_path


def test_these_tests_run_on_compiled_kernels():
    """A suite that passes without the kernels says nothing of them."""
    assert extension.loaded() is not None


def test_compiled_kernels_warn_of_nothing(tmp_path):
    result = run(LOGITS, tmp_path)
    assert result.stderr == ""
    assert len(numbers(result)) == 5


def test_a_checkout_that_is_not_built_says_so_once_and_computes(checkout, tmp_path):
    result = run(LOGITS, checkout)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("RuntimeWarning") == 1
    assert "plain NumPy" in result.stderr
    assert "`pip install -e .`" in result.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert numbers(result) == pytest.approx(numbers(run(LOGITS, elsewhere)), abs=2e-6)


def test_a_checkout_that_is_not_built_is_an_error_where_warnings_are(checkout):
    result = run("import warnings; warnings.simplefilter('error'); import vimnp", checkout)
    assert result.returncode == 1
    assert "RuntimeWarning" in result.stderr


def test_kernels_of_another_version_are_not_used(checkout):
    (checkout / "vimnp" / "_scan.py").write_text("version = '0.0.0'\n")
    result = run(LOGITS, checkout)
    assert result.returncode == 0, result.stderr
    assert f"are those of vimnp 0.0.0, not {vimnp.__version__}" in result.stderr


@pytest.mark.parametrize("operation", extension.FORCE_FALLBACK)
def test_each_operation_can_be_forced_into_numpy(operation, tmp_path):
    variable = extension.FORCE_FALLBACK[operation]
    result = run(LOGITS, tmp_path, **{variable: "TRUE"})
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("RuntimeWarning") == 1
    assert f"runs {operation} in plain NumPy" in result.stderr
    assert f"{variable}=TRUE" in result.stderr
    assert numbers(result) == pytest.approx(numbers(run(LOGITS, tmp_path)), abs=2e-6)
    assert numbers(run(LOGITS, tmp_path, **{variable: "FALSE"})) == numbers(run(LOGITS, tmp_path))


# A network on the native backend, for which nothing else is ever taken.
NATIVE = """
import numpy as np, vimnp
try:
    vimnp.VisionMamba.random(backend="native")
except vimnp.ConfigError as error:
    print(error)
"""


def test_the_native_backend_of_a_checkout_that_is_not_built_says_how_to_mend_it(checkout):
    result = run(NATIVE, checkout)
    assert result.returncode == 0, result.stderr
    assert "backend 'native' needs the compiled kernels" in result.stdout
    assert "`pip install -e .`" in result.stdout


def test_the_native_backend_takes_no_kernels_of_another_version(checkout):
    (checkout / "vimnp" / "_scan.py").write_text("version = '0.0.0'\n")
    result = run(NATIVE, checkout)
    assert result.returncode == 0, result.stderr
    assert "backend 'native' needs the compiled kernels" in result.stdout


def native(**changes) -> vimnp.VisionMamba:
    return vimnp.VisionMamba.random(config=MICRO, backend="native", **changes)


@pytest.mark.parametrize("backend", ["native", None], ids=["argument", "variable"])
def test_the_native_backend_without_kernels_is_an_error(backend, monkeypatch):
    monkeypatch.setattr(extension, "_scan", None)
    monkeypatch.setenv("VIMNP_BACKEND", "native")
    with pytest.raises(vimnp.ConfigError, match=r"are missing\. Install vimnp from a wheel, or"):
        vimnp.VisionMamba.random(config=MICRO, backend=backend)
    assert vimnp.VisionMamba.random(config=MICRO, backend="numpy").backend == "numpy"


@pytest.mark.parametrize("variable", extension.FORCE_FALLBACK.values())
def test_the_native_backend_forced_into_numpy_is_an_error(variable, monkeypatch):
    monkeypatch.setenv(variable, "true")
    with pytest.raises(vimnp.ConfigError) as raised:
        native()
    assert f"{variable}=TRUE" in str(raised.value)
    assert "unset it, or use backend 'numpy'" in str(raised.value)
    monkeypatch.setenv(variable, "FALSE")
    assert native().backend == "native"


@pytest.mark.parametrize("variable", extension.FORCE_FALLBACK.values())
def test_a_switch_that_means_nothing_is_named_to_the_native_backend_too(variable, monkeypatch):
    monkeypatch.setenv(variable, "maybe")
    with pytest.raises(vimnp.ConfigError, match=f"{variable} is 'maybe'; expected TRUE or FALSE"):
        native()


@pytest.mark.parametrize("variable", extension.FORCE_FALLBACK.values())
def test_a_switch_that_means_nothing_is_named(variable, monkeypatch):
    monkeypatch.setenv(variable, "maybe")
    operation = next(o for o, v in extension.FORCE_FALLBACK.items() if v == variable)
    with pytest.raises(vimnp.ConfigError, match=f"{variable} is 'maybe'; expected TRUE or FALSE"):
        extension.for_operation(operation)


@pytest.mark.parametrize("name", ["avx1024", " ", "AVX2"])
def test_an_unknown_instruction_set_is_refused_in_words(name, monkeypatch):
    monkeypatch.setenv("VIMNP_ISA", name)
    with pytest.raises(vimnp.ConfigError, match="this build does not have it; expected one of"):
        extension.instruction_set()


def test_an_instruction_set_that_the_machine_lacks_is_refused_in_words(monkeypatch):
    class OldMachine:
        @staticmethod
        def instruction_sets():
            return {"avx512": False, "baseline": True}

    monkeypatch.setattr(extension, "_scan", OldMachine)
    monkeypatch.setenv("VIMNP_ISA", "avx512")
    extension._select_instruction_set.cache_clear()
    with pytest.raises(vimnp.ConfigError, match="this machine lacks it; expected one of baseline"):
        extension.instruction_set()


def test_the_fastest_instruction_set_is_the_default(monkeypatch):
    monkeypatch.delenv("VIMNP_ISA", raising=False)
    usable = extension.usable_instruction_sets()
    assert extension.instruction_set() == usable[0]
    assert usable[-1] == "scalar"


def test_the_kernels_limits_are_those_that_are_checked():
    compiled = extension.loaded()
    assert compiled is not None
    assert compiled.MAX_D_STATE == config.MAX_D_STATE
    assert compiled.MAX_D_CONV == config.MAX_D_CONV
