"""Which networks stand beside VMamba, and what runs each of them.

Nothing that loads a framework is imported here: each network's process loads its own alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from peers import loaders
from peers.networks import Network

VMAMBAS = {"s1l8": "VMamba-T s1l8", "v0": "VMamba v0 tiny"}
"""Labels of the two VMambas by family."""


def _vmambas(family: str) -> Iterator[tuple[str, Network]]:
    label = VMAMBAS[family]
    # With 16 states, scans of whole arrays take gigabytes.
    has_many_states = family == "v0"
    for backend in ("native", "numpy"):
        load = partial(loaders.load_vmamba, backend=backend)
        yield backend, Network(f"{label}, vimnp {backend}", family, f"{family}.npz", load)
    for kind, words, build in (
        ("loop", "loop", loaders.vmamba_step_by_step),
        ("associative", "associative scan", loaders.vmamba_associative),
    ):
        yield (
            f"torch-{kind}",
            Network(
                f"{label}, PyTorch, {words}",
                family,
                f"{family}.pt",
                partial(loaders.load_torch, build=build),
                loops_over_tokens=kind == "loop" or has_many_states,
                smallest_only=has_many_states,
            ),
        )
    for run_time, name, load in (
        ("onnx", "ONNX Runtime", loaders.load_onnx),
        ("openvino", "OpenVINO", loaders.load_openvino),
    ):
        for kind, words in GRAPHS.items():
            unrolled_states = has_many_states and kind != "scans"
            yield (
                f"{run_time}-{kind}",
                Network(
                    f"{label}, {name}, {words}",
                    family,
                    f"{family}_{kind}.onnx",
                    load,
                    loops_over_tokens=has_many_states,
                    may_be_wrong=(run_time, kind) == ("openvino", "scans"),
                    smallest_only=unrolled_states,
                ),
            )


GRAPHS = {"scans": "Scans", "associative": "associative scan", "doubling": "doubling scan"}
"""What an ONNX graph can make of the recurrence, in words; see ``vmamba_onnx.py``."""


def _classifiers(family: str, label: str, build: object) -> Iterator[tuple[str, Network]]:
    file = f"{family}.onnx"
    yield "onnx", Network(f"{label}, ONNX Runtime", family, file, loaders.load_onnx)
    yield "openvino", Network(f"{label}, OpenVINO", family, file, loaders.load_openvino)
    load = partial(loaders.load_torch, build=build)
    yield "torch", Network(f"{label}, PyTorch", family, f"{family}.pt", load)


NETWORKS: dict[str, Network] = {
    f"{family}-{name}": network
    for family, networks in (
        ("s1l8", _vmambas("s1l8")),
        ("v0", _vmambas("v0")),
        ("convnext", _classifiers("convnext", "ConvNeXt-T", loaders.convnext)),
        ("swin", _classifiers("swin", "Swin-T", loaders.swin)),
    )
    for name, network in networks
    if (family, name.partition("-")[2]) != ("v0", "doubling")
}
"""By the names that ``--peers`` takes."""
