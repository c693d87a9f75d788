"""What a weights file in int8 says of how its network computes."""

from __future__ import annotations

from typing import Any, NamedTuple

from vimnp.errors import ConfigError

WEIGHTS = "int8 per output"
ACTIVATIONS = "int8 per token"
CALIBRATIONS = ("noise", "pictures")


class Quantization(NamedTuple):
    """How a network of pictures multiplies whole numbers.

    Parameters
    ----------
    calibration : {"noise", "pictures"}, optional
        What its matrices were smoothed by; None if they are not.
    """

    calibration: str | None = None

    def check(self) -> None:
        """Raise ConfigError unless it is one that this version knows."""
        if self.calibration not in (None, *CALIBRATIONS):
            raise ConfigError(
                f"the quantization's calibration is {self.calibration!r}; expected one of "
                f"{CALIBRATIONS} or null"
            )

    def to_dict(self) -> dict[str, Any]:
        """Every fact by name, ready for JSON."""
        return {"weights": WEIGHTS, "activations": ACTIVATIONS, "calibration": self.calibration}

    @classmethod
    def from_dict(cls, values: object) -> Quantization:
        """Read what :meth:`to_dict` gives. Raises ConfigError for anything else."""
        if not isinstance(values, dict):
            raise ConfigError("quantization is no JSON object")
        calibration = values.get("calibration")
        expected = cls(calibration if isinstance(calibration, str) else None).to_dict()
        if values != expected:
            raise ConfigError(f"quantization is {values}; expected {expected}, or such a one")
        return cls(calibration)

    def __str__(self) -> str:
        smoothed = f", smoothed by {self.calibration}" if self.calibration else ""
        return f"weights {WEIGHTS}, activations {ACTIVATIONS}{smoothed}"
