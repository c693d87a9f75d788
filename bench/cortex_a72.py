"""Estimates, without a Raspberry Pi, how long a picture takes on one: its products and its scans.

    python bench/cortex_a72.py
    python bench/cortex_a72.py --int8
    python bench/cortex_a72.py --int8 --cpu neoverse-n1 --gigahertz 2.4

Compiles the kernels for AArch64 with the flags of setup.py, picks the loops of products and scans
out of the assembly, and has llvm-mca count their cycles. The default is the Cortex-A72 of a
Raspberry Pi 4. The Raspberry Pi 5's Cortex-A76 has no model of its own in LLVM 14 or 19; its server
sibling, the Neoverse N1, has one in 19 but not in 14. --int8 takes the products and the scan that
int8 mode has, with the instructions for dot products where the core has them.
"""

from __future__ import annotations

import argparse
import ast
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vimnp.config import VIM_TINY

ROOT = Path(__file__).resolve().parent.parent

LLVM_MCA = ("llvm-mca", *(f"llvm-mca-{version}" for version in range(30, 12, -1)))
TOOL_IS_MISSING = """\
There is no {tool} here. The estimate takes a compiler for AArch64 and llvm-mca; on Debian:
    apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross llvm
--compiler and --llvm-mca name others.
"""

# The address makes the compiler keep every kernel. The scan contains its functions for delta and
# gate three times over; here each stands alone.
SOURCE = """\
#include "isa.h"
int (*const kept)(struct instruction_set *) = list_instruction_sets;
void delta(vec_neon *x, vec_neon *room, int number) { softplus_neon(x, room, number); }
void gate(vec_neon *z, vec_neon *divisors, int number)
{
    silu_divisors_neon(z, divisors, number);
    for (int i = 0; i < number; i++)
        z[i] /= divisors[i];
}
void coarse_delta(vec_neon *x, vec_neon *room, int number)
{
    coarse_softplus_neon(x, room, number);
}
void coarse_gate(vec_neon *z, vec_neon *divisors, int number)
{
    coarse_silu_divisors_neon(z, divisors, number);
    for (int i = 0; i < number; i++)
        z[i] = coarse_quotient_neon(z[i], divisors[i]);
}
void quantise(const float *x, ptrdiff_t inputs, struct quantised_row *to)
{
    quantise_whole_neon(x, NULL, inputs, to, 0);
}
void finish(const struct product *p, const float *scale, const ints_neon *sums, ptrdiff_t rows)
{
    struct product plain = *p;
    plain.bias = NULL;
    if (!plain.addend)
        return;
    for (ptrdiff_t row = 0; row < rows; row++)
        for (int v = 0; v < PANEL; v++)
            store_neon(
                plain.out + row * plain.out_stride + v * W,
                scaled_sums_neon(&plain, row, v * W, scale[row], sums[row * PANEL + v], W), W);
}
"""

# Vim-tiny: 384 channels of 16 states each, 4 channels in a vector; the 14 x 14 patches of a 224x224
# image and the class token.
VECTOR = 4
NETWORK = {"tokens": 197, "blocks": 384 // VECTOR, "layers": 24, "cores": 4}
DIRECTIONS, STATES = 2, 16
ITERATIONS = 100
ANOTHER = "for want of one for"  # in what model() says where llvm-mca takes another CPU's

ASSUMPTIONS = """\
throughput: the cycles that the core's busiest unit takes; cycles: with what instructions wait for
each other. Both are bounds from below: llvm-mca knows no cache, no memory, and no branch that was
guessed wrong. Delta and gate are the loops of softplus and SiLU; the short loops between them
(bias, test of the bound, product with the gate, stores) are not counted.
ms per image: {tokens} tokens x {blocks} blocks x directions x {layers} layers, spread evenly over
{cores} cores at {gigahertz:g} GHz. The gate applies once, to the sum of both directions. A
tile of float32 takes 5 tokens and 16 outputs one input further; all products of the network have
{multiply_adds:.2f} billion multiply-adds, dt_proj among them. Of the convolutions only the SiLU is
in the sum; norms, loading and the picture's way into the network are not.
"""
ASSUMPTIONS_OF_INT8 = """\
In int8 mode a product's tile is {tile}; dt_proj stays float32.
The rows of each product are made whole numbers once: the largest of 16 numbers is sought, and they
are rounded. The scales are those of 16 outputs of a row. What is expected has products that take
{longer:g} times as long: measured int8 networks of others reach so much less than the loops of
their libraries (ncnn on a Cortex-A72; on a Cortex-A76 Arm's ResNet-50, 20.7 of 29 multiply-adds a
cycle).
"""

# Outputs of a tile: ROWS x PANEL vectors of vimnp/csrc/product_float32.h.
TILE = 5 * 4
WITHOUT_DOTS = ("cortex-a53", "cortex-a57", "cortex-a72", "cortex-a73")
LONGER = 1.35  # what a product takes, over its loop alone


class Int8Tile(NamedTuple):
    """A step of product_per_channel.h, on vectors of 4 outputs."""

    function: str
    mnemonic: str  # of what its products are added up by
    rows: int
    vectors: int
    inputs: int

    @property
    def multiply_adds(self) -> int:
        return self.rows * self.vectors * VECTOR * self.inputs

    def __str__(self) -> str:
        return f"{self.rows} tokens, {self.vectors * VECTOR} outputs and {self.inputs} inputs"


DOTS = Int8Tile("dots_rows_4_neon", "sdot", 5, 4, 16)
PAIRS = Int8Tile("channel_rows_2_neon", "sadalp", 4, 2, 8)


class Estimate(NamedTuple):
    """What llvm-mca finds for one iteration: a token of one direction, 4 channels."""

    instructions: float
    micro_ops: float
    cycles: float
    throughput: float


class Part(NamedTuple):
    """Of an image: what llvm-mca finds for one iteration, and milliseconds of all.

    Parameters
    ----------
    name : str
    each : Estimate
    directions : int or None
        How many times a token's channels go through it; None for a loop of products.
    milliseconds : float
    is_product : bool
        Whether it is expected to take longer than its loop.
    """

    name: str
    each: Estimate
    directions: int | None
    milliseconds: float
    is_product: bool = False


class Core(NamedTuple):
    """What llvm-mca is to reckon with.

    Parameters
    ----------
    llvm_mca : str
        The program.
    cpu : str
    gigahertz : float
    """

    llvm_mca: str
    cpu: str
    gigahertz: float


def main() -> None:
    options = parse_arguments()
    core = Core(options.llvm_mca, options.cpu, options.gigahertz)
    assembly = compile_kernels(options.compiler)
    print(f"compiler: {compiler_version(options.compiler)}")
    print(f"llvm-mca: {llvm_version(options.llvm_mca)}, -mcpu={options.cpu}")
    print(f"model:    {model(simulate(core, states_of(assembly, options.int8)), options.cpu)}\n")
    print("One token of one direction, 4 channels:\n")
    print("            instructions  micro-ops  cycles  throughput  directions  ms per image")
    parts = estimates(assembly, core, options.int8)
    for part in parts:
        print_part(part)
    print(f"{'sum':67}  {total(parts):12.1f}")
    if options.int8:
        print(f"{'expected':67}  {total(parts, LONGER):12.1f}")
    figures = {"gigahertz": options.gigahertz, "multiply_adds": multiply_adds() / 1e9, **NETWORK}
    print("\n" + ASSUMPTIONS.format(**figures), end="")
    if options.int8:
        print(ASSUMPTIONS_OF_INT8.format(tile=int8_tile(options.cpu), longer=LONGER), end="")


def total(parts: Iterable[Part], longer: float = 1.0) -> float:
    """Milliseconds of an image, with products that take so many times as long as their loops."""
    return sum(part.milliseconds * (longer if part.is_product else 1.0) for part in parts)


def estimates(assembly: list[str], core: Core, int8: bool = False) -> list[Part]:
    """All that is reckoned of an image, in float32 or in int8 mode."""
    prefix = "coarse_" if int8 else ""
    delta = straight_loops(function(assembly, f"{prefix}delta"))
    gate = straight_loops(function(assembly, f"{prefix}gate"))
    parts = [
        scanned("states", [states_of(assembly, int8)], DIRECTIONS, core),
        scanned("delta", delta, DIRECTIONS, core),
        scanned("gate", gate, 1, core),
        scanned("conv SiLU", gate, DIRECTIONS, core),
    ]
    if int8:
        parts += products_in_int8(assembly, core)
    floats = multiply_adds("dt_proj") if int8 else multiply_adds()
    name = "float32" if int8 else "products"
    return [*parts, repeated(name, product_loop(assembly), floats / (TILE * VECTOR), core)]


def states_of(assembly: list[str], int8: bool) -> list[str]:
    return states_loop(function(assembly, "scan_rows_coarsely_neon" if int8 else "scan_rows_neon"))


def scanned(name: str, loops: list[list[str]], directions: int, core: Core) -> Part:
    """Loops that run one after the other, for a token and 4 channels of one direction."""
    each = [estimate(simulate(core, loop)) for loop in loops]
    whole = Estimate(*(sum(figures) for figures in zip(*each, strict=True)))
    time = milliseconds(whole.cycles * directions, core.gigahertz)
    return Part(name, whole, directions, time)


def repeated(name: str, loop: list[str], times: float, core: Core) -> Part:
    """A loop of products that an image goes through so often."""
    each = estimate(simulate(core, loop))
    time = each.cycles * times / NETWORK["cores"] / (core.gigahertz * 1e6)
    return Part(name, each, None, time, is_product=True)


def products_in_int8(assembly: list[str], core: Core) -> list[Part]:
    """Products of whole numbers, and what makes them and their sums numbers of the other kind."""
    tile, tokens = int8_tile(core.cpu), NETWORK["tokens"]
    whole = multiply_adds() - multiply_adds("dt_proj")
    loop = most_of(straight_loops(function(assembly, tile.function)), tile.mnemonic)
    quantise = straight_loops(function(assembly, "quantise"))
    largest, rounded = (most_of(quantise, mnemonic) for mnemonic in ("smax", "fcvtns"))
    numbers = tokens * sum(inputs for _, inputs in matrices_of_int8())
    outputs = tokens * sum(outputs for outputs, _ in matrices_of_int8())
    scales = most_of(straight_loops(function(assembly, "finish")), "scvtf")
    return [
        repeated("products", loop, whole / tile.multiply_adds, core),
        repeated("largest", largest, numbers / 16, core),
        repeated("rounding", rounded, numbers / 16, core),
        repeated("scales", scales, outputs / 16, core),
    ]


def print_part(part: Part) -> None:
    each, directions = part.each, "" if part.directions is None else part.directions
    print(
        f"{part.name:10}  {each.instructions:12.0f}  {each.micro_ops:9.0f}  {each.cycles:6.1f}  "
        f"{each.throughput:10.1f}  {directions:>10}  {part.milliseconds:12.1f}"
    )


def compiler_version(compiler: str) -> str:
    return run([compiler, "--version"]).splitlines()[0]


def int8_tile(cpu: str) -> Int8Tile:
    return PAIRS if cpu in WITHOUT_DOTS else DOTS


def matrices() -> dict[str, tuple[int, int]]:
    """Outputs and inputs of all that tokens of Vim-tiny are multiplied with."""
    return {
        name: (shape[0], math.prod(shape[1:]))
        for name, shape in VIM_TINY.parameter_shapes().items()
        if name.endswith("weight") and len(shape) in (2, 4) and name != "head.weight"
    }


def matrices_of_int8() -> list[tuple[int, int]]:
    return [shape for name, shape in matrices().items() if "dt_proj" not in name]


def multiply_adds(part: str = "") -> float:
    """Of all products with a picture of 224x224 pixels, or of those whose names have this part."""
    of_token = sum(math.prod(shape) for name, shape in matrices().items() if part in name)
    return float(of_token * NETWORK["tokens"])


def parse_arguments() -> argparse.Namespace:
    default = "default: %(default)s"
    parser = tools_parser(__doc__)
    parser.add_argument("--cpu", default="cortex-a72", help=f"-mcpu of llvm-mca, {default}")
    parser.add_argument("--gigahertz", type=float, default=1.5, help=f"clock, {default}")
    parser.add_argument("--int8", action="store_true", help="products and scans of int8 mode")
    return with_tools(parser.parse_args())


def tools_parser(documentation: str | None) -> argparse.ArgumentParser:
    """With the options that name the tools."""
    default = "default: %(default)s"
    parser = argparse.ArgumentParser(description=(documentation or "").splitlines()[0])
    parser.add_argument("--compiler", default="aarch64-linux-gnu-gcc", help=default)
    parser.add_argument("--llvm-mca", help="default: the first of llvm-mca, llvm-mca-30, ... -13")
    return parser


def with_tools(options: argparse.Namespace) -> argparse.Namespace:
    """The options with an llvm-mca; ends the program where a tool is missing."""
    options.llvm_mca = options.llvm_mca or next(filter(shutil.which, LLVM_MCA), LLVM_MCA[0])
    for tool in (options.compiler, options.llvm_mca):
        if shutil.which(tool) is None:
            print(TOOL_IS_MISSING.format(tool=tool), end="", file=sys.stderr)
            sys.exit(2)
    return options


def run(command: list[str], text: str = "") -> str:
    """What a command prints, given `text` to read; ends the program with its errors if it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def llvm_version(llvm_mca: str) -> str:
    lines = run([llvm_mca, "--version"]).splitlines()
    return next(line.strip() for line in lines if "LLVM version" in line)


def compiler_flags() -> list[str]:
    """Those of setup.py: read, because importing that file would start a build."""
    found = {
        ast.unparse(statement.targets[0]): statement.value
        for statement in ast.parse((ROOT / "setup.py").read_text("utf-8")).body
        if isinstance(statement, ast.Assign)
    }
    if not {"UNIX_FLAGS", "LITERALS_FLAG"} <= found.keys():
        sys.exit("setup.py has no UNIX_FLAGS or LITERALS_FLAG any more")
    flags: list[str] = ast.literal_eval(found["UNIX_FLAGS"])
    return [*flags, ast.literal_eval(found["LITERALS_FLAG"])]


def compile_kernels(compiler: str) -> list[str]:
    """The lines of the kernels' assembly."""
    flags = [*compiler_flags(), "-fPIC", "-I", str(ROOT / "vimnp" / "csrc")]
    return run([compiler, *flags, "-S", "-x", "c", "-", "-o", "-"], SOURCE).splitlines()


def function(assembly: list[str], name: str) -> list[str]:
    """The lines from a function's label to its end."""
    first = assembly.index(f"{name}:")
    return assembly[first : assembly.index(f"\t.size\t{name}, .-{name}", first)]


def straight_loops(assembly: Iterable[str]) -> list[list[str]]:
    """The instructions of every loop without a loop, or another way in, inside.

    That is every piece from a label to a branch back to it with no other label between.
    """
    loops: list[list[str]] = []
    label, body = "none yet", list[str]()
    for line in assembly:
        if found := re.match(r"([\w.]+):", line):
            label, body = found[1], []
        elif re.match(r"\t[a-z]", line):
            body.append(line)
            if re.search(rf"[\t ]{re.escape(label)}$", line):
                loops.append(list(body))
    return loops


def states_loop(assembly: list[str]) -> list[str]:
    """The loop over tokens that a scan of every published network spends most of its time in.

    It is the innermost loop with the most vector multiply-adds and without fmin and fmax. Only with
    the 16 states written out is an innermost loop so long; and where no step size is too large, the
    states need no clamps, while the same loop for any step size clamps every exponent.
    """
    unclamped = [loop for loop in straight_loops(assembly) if not count(loop, "fmin", "fmax")]
    longest = max(unclamped, key=lambda loop: count(loop, "fmla"), default=[])
    if count(longest, "fmla") < 2 * STATES:  # one for the state, one for the output, and exp's
        sys.exit("the assembly has no loop with all states written out and without clamps")
    return longest


def product_loop(assembly: list[str]) -> list[str]:
    """The loop over inputs of a whole tile: nothing but loads and its multiply-adds."""
    for loop in straight_loops(assembly):
        if count(loop, "fmla") == TILE and not count(loop, "fmul", "fadd", "fsub", "shl", "st"):
            return loop
    sys.exit(f"the assembly has no loop of {TILE} multiply-adds alone")


def most_of(loops: list[list[str]], mnemonic: str) -> list[str]:
    """The loop that has most of these instructions."""
    found = max(loops, key=lambda loop: count(loop, mnemonic), default=[])
    if not count(found, mnemonic):
        sys.exit(f"the assembly has no loop with {mnemonic}")
    return found


def count(loop: list[str], *mnemonics: str) -> int:
    """How many of the instructions begin with one of these."""
    return sum(line.strip().startswith(mnemonics) for line in loop)


def simulate(core: Core, loop: list[str]) -> str:
    """The report of llvm-mca on this loop."""
    flags = ["-mtriple=aarch64", f"-mcpu={core.cpu}", f"-iterations={ITERATIONS}"]
    return run([core.llvm_mca, *flags], "\n".join(loop))


def estimate(report: str) -> Estimate:
    figures = dict(re.findall(r"^(\w[\w ]*):\s+([\d.]+)$", report, re.MULTILINE))
    return Estimate(
        instructions=float(figures["Instructions"]) / ITERATIONS,
        micro_ops=float(figures["Total uOps"]) / ITERATIONS,
        cycles=float(figures["Total Cycles"]) / ITERATIONS,
        throughput=float(figures["Block RThroughput"]),
    )


def milliseconds(cycles: float, gigahertz: float) -> float:
    """Of one image on all cores, from the cycles of a token and 4 channels in one layer."""
    repetitions = NETWORK["tokens"] * NETWORK["blocks"] * NETWORK["layers"] / NETWORK["cores"]
    return cycles * repetitions / (gigahertz * 1e6)


def model(report: str, cpu: str) -> str:
    """Whose units llvm-mca reckons with: for a CPU without a model it takes another's, silently."""
    units = re.search(r"^\[0[.0]*\]\s+- (\w+)Unit", report, re.MULTILINE)
    name = units[1] if units else "unknown"
    if name == "A57" and cpu not in ("cortex-a57", "cortex-a72"):  # those two share one
        return f"{name}, {ANOTHER} {cpu}: these are not its figures"
    return name


if __name__ == "__main__":
    main()
