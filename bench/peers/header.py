"""What a page of tables begins with: where, with what and how they were measured."""

from __future__ import annotations

from peers.record import Results


def print_header(results: Results) -> None:
    packages = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [*results["machine"], packages, f"{results['date']}, {results['rounds']} rounds"]
    print("\n".join(f"- {line}" for line in lines), end="\n\n")
