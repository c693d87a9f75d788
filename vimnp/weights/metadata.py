"""What a weights file says of itself, beside the tensors: its member ``vimnp.json``."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from vimnp.errors import ConfigError
from vimnp.images.preprocessing import Preprocessing
from vimnp.images.sizes import MOST_PIXELS
from vimnp.storage.json_text import parse_json
from vimnp.weights.family import Configuration, family_named
from vimnp.weights.quantization import Quantization

METADATA = "vimnp.json"
FORMAT_VERSION = 3
DTYPES = ("float32", "float16", "bfloat16", "int8", "int4")
TOKENIZER = "tokenizer.json"
BYTES = "bytes"  # a tokenizer that needs no file: ids 0 to 255
TOKENIZER_LIMIT = 32 << 20  # bytes; that of 250 thousand words takes 17 million
MENDING = "convert the checkpoint again with `vimnp convert`"

# 1 had no fields for what was refused then, and 2 no family: all were of this one.
_READ_VERSIONS = (2, FORMAT_VERSION)
_ONLY_FAMILY = "vim"

# What files have that the language models of a later version brought, and int8 of networks of
# pictures: others do without.
_LATER_FIELDS = frozenset({"tokenizer", "chat_template", "quantization"})

_LONGEST_TEMPLATE = 1 << 17  # characters; those of published models have some thousand

_FITTING = Preprocessing()  # stands for that of the network's number of channels

C = TypeVar("C", bound=Configuration)


@runtime_checkable
class OfPictures(Protocol):
    """What the configuration of a network tells that takes pictures and may know classes."""

    @property
    def img_size(self) -> tuple[int, int]: ...

    @property
    def channels(self) -> int: ...

    @property
    def num_classes(self) -> int: ...


@runtime_checkable
class OfText(Protocol):
    """What the configuration of a network tells that takes the ids of a text."""

    @property
    def vocab_size(self) -> int: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata(Generic[C]):
    """What a weights file says of itself, beside the tensors.

    Parameters
    ----------
    config : Configuration
        Of a network of any family.
    preprocessing : Preprocessing, optional
        Of pictures, by default ImageNet's; None for a network that takes none.
    dtype : {"float32", "float16", "bfloat16", "int8", "int4"}
        As stored, and one of the family's. A tensor that needs more bits has them.
    labels : tuple of str, optional
        A name for each class.
    source : str, optional
        Name of the file that the weights came from.
    source_sha256 : str, optional
        Its SHA-256, in hexadecimal.
    tokenizer : {"bytes", "tokenizer.json"}, optional
        Of a language model: what makes ids of a text. The latter is a member of the file.
    chat_template : str, optional
        Of a language model: what makes a text of a conversation, a Jinja template.
    quantization : Quantization, optional
        Of a network of pictures whose dtype is int8, by default of matrices that are not smoothed.

    Raises
    ------
    ConfigError
        If a value has the wrong type, or does not go with the network: its channels, its classes,
        its vocabulary, its family's dtypes.
    """

    config: C
    preprocessing: Preprocessing | None = _FITTING
    dtype: str = "float32"
    labels: tuple[str, ...] | None = None
    source: str | None = None
    source_sha256: str | None = None
    tokenizer: str | None = None
    chat_template: str | None = None
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}; expected one of {DTYPES}")
        family = self.config.family
        if self.dtype not in family.dtypes:
            raise ConfigError(
                f"dtype is {self.dtype!r} in a file of the family {family.name!r}; expected one of "
                f"{family.dtypes}"
            )
        if isinstance(self.config, OfPictures):
            if self.preprocessing is _FITTING:
                fitting = Preprocessing.of_channels(self.config.channels)
                object.__setattr__(self, "preprocessing", fitting)
            self._check_preprocessing(self.config)
            self._check_labels(self.config)
        elif (self.preprocessing, self.labels) != (None, None):
            raise ConfigError(
                f"there are preprocessing or labels for a network of the family "
                f"{self.config.family.name!r}, which takes no pictures; expected null"
            )
        self._check_text()
        self._check_quantization()
        for name in ("source", "source_sha256", "chat_template"):
            if not isinstance(getattr(self, name), str | None):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected text or null")
        for text in (
            self.source,
            self.source_sha256,
            self.chat_template,
            *(self.labels or ()),
        ):
            if text is not None and not _is_unicode(text):
                raise ConfigError(f"{text!a} is half a character; expected Unicode text")

    def _check_preprocessing(self, config: OfPictures) -> None:
        """Refuse one of other channels, or a size and a crop that make a picture out of bounds."""
        if self.preprocessing is None:
            raise ConfigError("preprocessing is null; expected what the network does to pictures")
        found = self.preprocessing.channels
        if found != config.channels:
            raise ConfigError(
                f"mean and std of the preprocessing are of {found} channels, and the network takes "
                f"{config.channels}; expected one number each for every channel"
            )
        sides, crop_pct = config.img_size, self.preprocessing.crop_pct
        height, width = (int(side / crop_pct) for side in sides)
        if height * width > MOST_PIXELS:
            raise ConfigError(
                f"img_size {sides[0]}x{sides[1]} and crop_pct {crop_pct:g} have pictures resized "
                f"to {height}x{width}; expected at most {MOST_PIXELS} pixels: a smaller img_size "
                "or a larger crop_pct"
            )

    def _check_labels(self, config: OfPictures) -> None:
        if self.labels is None:
            return
        if not config.num_classes:
            raise ConfigError("there are labels for a network without a head; expected null")
        if not all(isinstance(label, str) for label in self.labels):
            raise ConfigError("labels holds something that is no text; expected only text")
        if len(self.labels) != config.num_classes:
            raise ConfigError(
                f"there are {len(self.labels)} labels for {config.num_classes} classes; "
                "expected one each"
            )

    def _check_text(self) -> None:
        """Refuse a tokenizer that there is not, or whose ids the network does not have."""
        if not isinstance(self.config, OfText):
            if (self.tokenizer, self.chat_template) != (None, None):
                raise ConfigError(
                    f"there is a tokenizer or chat_template for a network of the family "
                    f"{self.config.family.name!r}, which takes no text; expected null"
                )
            return
        if self.tokenizer not in (None, BYTES, TOKENIZER):
            raise ConfigError(
                f"tokenizer is {self.tokenizer!r}; expected {BYTES!r}, {TOKENIZER!r} or null"
            )
        if self.tokenizer == BYTES and self.config.vocab_size < 256:
            raise ConfigError(
                f"tokenizer is {BYTES!r}, and vocab_size {self.config.vocab_size}; expected an id "
                "for each of the 256 bytes"
            )
        template = self.chat_template
        if isinstance(template, str) and len(template) > _LONGEST_TEMPLATE:
            raise ConfigError(
                f"chat_template has {len(template)} characters; expected at most "
                f"{_LONGEST_TEMPLATE}"
            )

    def _check_quantization(self) -> None:
        """Refuse one where nothing is quantised for pictures; make the default one where it is."""
        if self.dtype != "int8" or not isinstance(self.config, OfPictures):
            if self.quantization is not None:
                raise ConfigError(
                    f"there is a quantization for a network of the family "
                    f"{self.config.family.name!r} in {self.dtype}; expected null"
                )
            return
        if self.quantization is None:
            object.__setattr__(self, "quantization", Quantization())
        elif not isinstance(self.quantization, Quantization):
            raise ConfigError(f"quantization is {self.quantization!r}; expected a Quantization")
        else:
            self.quantization.check()

    @property
    def is_smoothed(self) -> bool:
        """Whether the matrices in int8 are smoothed."""
        return self.quantization is not None and self.quantization.calibration is not None

    def to_json(self) -> bytes:
        """Write it as it stands in the weights file.

        Returns
        -------
        bytes
            JSON in UTF-8, the content of ``vimnp.json``.
        """
        values: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "family": self.config.family.name,
        }
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name not in _LATER_FIELDS:
                values[field.name] = value
        values["config"] = self.config.to_dict()
        if self.preprocessing is not None:
            values["preprocessing"] = dataclasses.asdict(self.preprocessing)
        if self.quantization is not None:
            values["quantization"] = self.quantization.to_dict()
        return json.dumps(values, indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Metadata[Any]:
        """Read and check what stands in the weights file.

        Parameters
        ----------
        text : bytes
            The content of ``vimnp.json``.

        Returns
        -------
        Metadata
            Its configuration is of the family that the text names.

        Raises
        ------
        ConfigError
            If anything in it is unexpected.
        """
        try:
            values = parse_json(text)
        except ValueError as error:
            raise ConfigError(f"not JSON ({error})") from None
        if not isinstance(values, dict):
            raise ConfigError("not a JSON object")
        family = family_named(_pop_family(values))
        expected = {field.name for field in dataclasses.fields(cls)}
        if not expected - _LATER_FIELDS <= set(values) <= expected:
            raise ConfigError(f"has the fields {sorted(values)}; expected {sorted(expected)}")
        if not isinstance(values["config"], dict):
            raise ConfigError("config is no JSON object")
        values["config"] = family.configuration.from_dict(values["config"])
        if values["preprocessing"] is not None:
            values["preprocessing"] = _preprocessing_from(values["preprocessing"])
        if values["labels"] is not None:
            if not isinstance(values["labels"], list):
                raise ConfigError("labels is neither a list nor null")
            values["labels"] = tuple(values["labels"])
        if values.get("quantization") is not None:
            values["quantization"] = Quantization.from_dict(values["quantization"])
        metadata = cls(**values)
        if metadata.quantization is not None and values.get("quantization") is None:
            raise ConfigError("has no quantization, which files in int8 have; expected one")
        return metadata


def _pop_family(values: dict[str, Any]) -> object:
    """Take format and family out of the fields; the name of the family."""
    version = values.pop("format_version", None)
    if type(version) is not int or version not in _READ_VERSIONS:
        known = " and ".join(map(str, _READ_VERSIONS))
        raise ConfigError(
            f"format_version is {version!r}; this vimnp reads versions {known}: {MENDING}"
        )
    if version == FORMAT_VERSION:
        return values.pop("family", None)
    return _ONLY_FAMILY


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold it: JSON can spell lone surrogates, which nothing can print."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _preprocessing_from(values: object) -> Preprocessing:
    if not isinstance(values, dict):
        raise ConfigError("preprocessing is no JSON object")
    expected = {field.name for field in dataclasses.fields(Preprocessing)}
    if set(values) != expected:
        raise ConfigError(f"preprocessing has {sorted(values)}; expected {sorted(expected)}")
    fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    return Preprocessing(**fields)
