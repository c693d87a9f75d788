"""The networks that are served, by their names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from vimnp.errors import ConfigError
from vimnp.models.vision import VisionModel
from vimnp.serve.batcher import Batcher
from vimnp.serve.errors import RequestError
from vimnp.serve.limits import Limits
from vimnp.serve.metrics import Metrics
from vimnp.serve.reading import Read, read_picture
from vimnp.serve.workers import Workers

if TYPE_CHECKING:
    from vimnp.models.generation import GenerationStream
    from vimnp.models.language import LanguageModel
    from vimnp.models.vim.explain import Explanation

Result = TypeVar("Result")


class ServedPictures:
    """A network of pictures. What several clients ask of it at once goes through it together.

    Parameters
    ----------
    name : str
        What clients call it.
    model : VisionModel
    workers : Workers
    limits : Limits
    metrics : Metrics
    """

    def __init__(
        self, name: str, model: VisionModel, workers: Workers, limits: Limits, metrics: Metrics
    ) -> None:
        self.name, self.model, self._workers = name, model, workers
        self._most_pixels = limits.pixels

        def note(count: int) -> None:
            metrics.batches.add(model=name)
            metrics.pictures.add(count, model=name)

        def together(run: Any) -> Batcher[np.ndarray, np.ndarray]:
            return Batcher(run, workers.computing, limits.batch, note)

        self.logits = together(model)
        self.features = together(model.features)

    @property
    def waiting(self) -> int:
        """Pictures that wait for the network."""
        return len(self.logits) + len(self.features)

    async def read(self, data: bytes) -> Read:
        """A picture's bytes -> the network's input. Raises ImageError."""
        return await self._workers.read(
            functools.partial(read_picture, self.model, data, self._most_pixels)
        )

    @property
    def explains(self) -> bool:
        """Whether the network's family can say why."""
        return hasattr(self.model, "explain")

    async def explain(self, read: Read, target: int | str | None) -> Explanation:
        """Why it is a class, by its index or label. Raises ConfigError."""
        model: Any = self.model
        if not self.explains:
            raise ConfigError(
                f"{self.name} is a {type(model).__name__}; expected a Vision Mamba, whose scans "
                "can be looked through"
            )
        return await self._workers.compute(functools.partial(model.explain, read.pixels, target))

    def facts(self) -> dict[str, Any]:
        """What clients are told of it."""
        preprocessing = self.model.metadata.preprocessing
        assert preprocessing is not None  # metadata of a network of pictures have it
        return {
            "task": "image-classification",
            "classes": self.model.config.num_classes,
            "img_size": list(self.model.config.img_size),
            "crop_pct": preprocessing.crop_pct,
            "explains": self.explains,
        }


class ServedText:
    """A language model. Texts that are written at once have their tokens in the same passes.

    Parameters
    ----------
    name : str
    model : LanguageModel
    workers : Workers
    limits : Limits
    metrics : Metrics
    """

    def __init__(
        self, name: str, model: LanguageModel, workers: Workers, limits: Limits, metrics: Metrics
    ) -> None:
        self.name, self.model = name, model
        self._workers, self._metrics = workers, metrics
        self._advance: Batcher[GenerationStream, bool | Exception] = Batcher(
            advance_all, workers.computing, limits.batch
        )

    async def begin(self, prompt: Any, options: Mapping[str, Any], most: int) -> GenerationStream:
        """A text that is to be written. Nothing is computed yet.

        Parameters
        ----------
        prompt : str or sequence of int
        options : mapping
            As for :meth:`LanguageModel.stream`.
        most : int
            Tokens that the prompt may have.

        Raises
        ------
        ConfigError, TextError
            As for :meth:`LanguageModel.stream`.
        RequestError
            400 if the prompt is too long.
        """
        writing = await self._workers.read(
            functools.partial(self.model.stream, prompt, **dict(options))
        )
        count = len(writing.prompt_ids)
        if count > most:
            raise RequestError(
                400,
                f"the prompt has {count:,} tokens; expected at most {most:,}",
                code="context_length_exceeded",
            )
        self._metrics.tokens.add(count, model=self.name, kind="read")
        return writing

    async def work(self, call: Callable[[], Result]) -> Result:
        """Have something done that takes the tokenizer, and no network."""
        return await self._workers.read(call)

    async def advance(self, writing: GenerationStream) -> bool:
        """Write one token more, after the prompt was read; false if the text is over.

        Other texts that are to have one meanwhile are in the same pass.
        """
        is_going_on = await self._advance(writing)
        if isinstance(is_going_on, Exception):
            raise is_going_on
        if is_going_on:
            self._metrics.tokens.add(model=self.name, kind="written")
        return is_going_on

    def facts(self) -> dict[str, Any]:
        """What clients are told of it."""
        return {"task": "text-generation", "classes": 0, "explains": False}


def advance_all(writings: list[GenerationStream]) -> list[bool | Exception]:
    """A token more for each text; the code of language models loads when the first asks."""
    from vimnp.models.generation import advance_together

    return advance_together(writings)


Served = ServedPictures | ServedText


class Registry(Mapping[str, Served]):
    """The networks by their names.

    Parameters
    ----------
    served : iterable of Served
    """

    def __init__(self, *served: Served) -> None:
        self._served = {each.name: each for each in served}

    def __getitem__(self, name: str) -> Served:
        return self._served[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._served)

    def __len__(self) -> int:
        return len(self._served)

    def pictures(self, name: object) -> ServedPictures:
        """A network of pictures. Raises RequestError: 404 without one, 400 for a language model."""
        found = self.named(name)
        if isinstance(found, ServedPictures):
            return found
        raise RequestError(400, f"{found.name} is a language model; expected one of pictures")

    def text(self, name: object) -> ServedText:
        """A language model. Raises RequestError: 404 without one, 400 for one of pictures."""
        found = self.named(name)
        if isinstance(found, ServedText):
            return found
        raise RequestError(400, f"{found.name} looks at pictures; expected a language model")

    def named(self, name: object) -> Served:
        """A network of any kind. Raises RequestError, 404, if there is none of this name."""
        if not isinstance(name, str):
            raise RequestError(
                400, f'expected "model", the name of one that is served: {", ".join(self)}'
            )
        if name not in self:
            raise RequestError(
                404,
                f"no model {name[:100]!r} is served; expected one of {', '.join(self)}",
                code="model_not_found",
            )
        return self[name]
