"""What every network that looks at pictures offers: load, preprocess, predict, features."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Hashable, Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, cast, overload

import numpy as np

from vimnp.counts import checked_count
from vimnp.engine.settings import Backend, Scan
from vimnp.errors import ConfigError
from vimnp.images.image_file import PictureFile, is_picture_file, name_of, naming
from vimnp.images.preprocessing import Picture, Preprocessing, is_batch, to_input
from vimnp.models.model import Model
from vimnp.models.precision import Precision, bytes_in_memory, read_in, resolve_precision
from vimnp.models.random_weights import random_reader
from vimnp.models.ranking import best_first
from vimnp.weights.family import ReadTensor
from vimnp.weights.file import WeightsFile
from vimnp.weights.metadata import Metadata

if TYPE_CHECKING:
    from PIL import Image

    from vimnp.engine.costs import Cost
    from vimnp.engine.trace import Trace

    Pictures: TypeAlias = Picture | Iterable[Picture]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A class that the network sees in a picture.

    Parameters
    ----------
    index : int
        The class, from 0 on.
    label : str or None
        The class's name, where the weights file has names.
    score : float
        Its share of the softmax, 0 to 1.
    """

    index: int
    label: str | None
    score: float


class VisionModel(Model):
    """A network that looks at pictures, on one of the backends: what every family's class offers.

    Its parameters, attributes and errors are those of the class: :class:`vimnp.VisionMamba` has all
    of them.
    """

    variant: ClassVar[Any] = None
    """The sizes that a named network must have."""

    def __init__(
        self,
        metadata: Metadata | None = None,
        read: ReadTensor | None = None,
        *,
        scan: Scan = "fused",
        num_threads: int | None = None,
        backend: Backend | None = None,
        precision: Precision | None = None,
    ) -> None:
        self._asked_precision = precision
        if metadata is not None and read is not None:
            is_whole = resolve_precision(precision, metadata) == "int8"
            if is_whole or metadata.dtype == "int8":
                self._check_family(metadata.config)
                read = read_in("int8" if is_whole else "float32", read, metadata.config)
        super().__init__(metadata, read, scan=scan, num_threads=num_threads, backend=backend)

    @property
    def precision(self) -> Precision:
        """What the large matrices are multiplied in: "float32" or "int8"."""
        return resolve_precision(self._asked_precision, self.metadata)

    @property
    def _bytes_in_memory(self) -> int:
        return bytes_in_memory(self.precision, self.config)

    @property
    def runs(self) -> str:
        """How this model runs, in words: in int8, too."""
        return f"{self.way}, int8" if self.precision == "int8" else str(self.way)

    # ---- What a family's class says of itself ---------------------------------------------------

    def _shape_of(self, output: Hashable) -> tuple[int, ...]:
        """The shape of what is asked for of a picture."""
        raise NotImplementedError

    @classmethod
    def _resized(
        cls, config: Any, read: ReadTensor, img_size: int | tuple[int, int]
    ) -> tuple[Any, ReadTensor]:
        """The same network for pictures of another size. Raises ConfigError if there is none."""
        raise NotImplementedError

    @classmethod
    def _default_config(cls) -> Any:
        """That of a network of random weights, if none is given."""
        raise NotImplementedError

    def costs(self) -> dict[str, Cost]:
        """Count what a picture's logits take, by operation.

        Returns
        -------
        dict of str to vimnp.costs.Cost
            Arithmetic, exponentials and bytes of each operation, by the name that a profile has.
        """
        raise NotImplementedError

    def _facts(self) -> dict[str, str]:
        """What :meth:`summary` says of the family's sizes."""
        raise NotImplementedError

    # ---- Other ways to make one, and settings ---------------------------------------------------

    @classmethod
    def from_npz(
        cls,
        path: str | os.PathLike[str],
        *,
        img_size: int | tuple[int, int] | None = None,
        scan: Scan = "fused",
        num_threads: int | None = None,
        backend: Backend | None = None,
        precision: Precision | None = None,
    ) -> Self:
        """Load a weights file that ``vimnp convert`` wrote.

        Parameters
        ----------
        path : path-like
            The ``.npz`` file.
        img_size : int or (height, width), optional
            Take pictures of this size in pixels, and not of the size that the network was trained
            for. Vision Mamba's position embedding is then interpolated
            (:func:`vimnp.models.vim.resize.resized`).
        scan, num_threads, backend, precision
            As for the class.

        Raises
        ------
        WeightsError
            If the file is missing, damaged, or not a vimnp weights file.
        ConfigError
            As for the class, or if the network cannot take pictures of this size.
        """
        with WeightsFile(path) as file:
            return cls.from_weights(
                file,
                img_size=img_size,
                scan=scan,
                num_threads=num_threads,
                backend=backend,
                precision=precision,
            )

    @classmethod
    def from_weights(
        cls,
        file: WeightsFile,
        *,
        img_size: int | tuple[int, int] | None = None,
        scan: Scan = "fused",
        num_threads: int | None = None,
        backend: Backend | None = None,
        precision: Precision | None = None,
    ) -> Self:
        """Load a weights file that is open; :meth:`from_npz` opens and closes one.

        Parameters
        ----------
        file : vimnp.weights.WeightsFile
            May be closed afterwards.
        img_size, scan, num_threads, backend, precision
            As for :meth:`from_npz`.

        Raises
        ------
        WeightsError
            If a tensor is damaged.
        ConfigError
            As for :meth:`from_npz`.
        """
        metadata = file.metadata
        read: ReadTensor = file.read
        cls._check_family(metadata.config)
        if resolve_precision(precision, metadata) == "int8":
            read = cast("ReadTensor", file.read_stored)
        if img_size is not None:
            config, read = cls._resized(metadata.config, read, img_size)
            metadata = dataclasses.replace(metadata, config=config)
        return cls(
            metadata,
            read,
            scan=scan,
            num_threads=num_threads,
            backend=backend,
            precision=precision,
        )

    @classmethod
    def random(
        cls,
        seed: int = 0,
        *,
        config: Any = None,
        scan: Scan = "fused",
        num_threads: int | None = None,
        backend: Backend | None = None,
        precision: Precision | None = None,
    ) -> Self:
        """Make a network of random weights, for benchmarks and tests.

        Parameters
        ----------
        seed : int
            The same seed gives the same weights.
        config : VimConfig, VMambaConfig, MedMambaConfig or VMUNetConfig, optional
            The family's configuration, by default that of the named network; for a class without
            one that of the family's smallest published network.
        scan, num_threads, backend, precision
            As for the class.

        Raises
        ------
        ConfigError
            As for the class, or if `config` is of another family.
        """
        config = cls._default_config() if config is None else config
        read = random_reader(config, seed)
        return cls(
            Metadata(config=config),
            read,
            scan=scan,
            num_threads=num_threads,
            backend=backend,
            precision=precision,
        )

    def with_settings(self, *, scan: Scan | None = None, num_threads: int | None = None) -> Self:
        """Give the same network, on the same weights in memory, run in another way.

        Parameters
        ----------
        scan : {"fused", "sequential", "fixlen", "fused_fixlen"}, optional
            Another scan mode, which the backend has.
        num_threads : int, optional
            Another number of threads.

        Raises
        ------
        ConfigError
            If the class or the backend has no such scan mode, or that is no number of threads.
        """
        return self._with_settings(scan, num_threads)

    def __call__(self, images: Pictures) -> np.ndarray:
        """Compute the logits of a picture, or of several.

        Parameters
        ----------
        images : PIL.Image.Image, path-like, binary file, array (dtypes, shapes: below), or a batch
            A picture: a PIL image; the path of a picture file, or that file, open; an array of
            uint8 (H, W, 3), RGB, (H, W, 4), with an alpha that is dropped, (H, W) or (H, W, 1),
            grey; or an array of floats (3, H, W) that is normalised already and of the network's
            size. What NumPy can make such an array of, as a tensor on the CPU, is taken for it.
            A batch: an array with one dimension more, (B, H, W, 3) or (B, 3, H, W); a list; or
            anything else that gives pictures in an order, as a generator, of which only as many
            are in memory at once as go through the network together. A network of one channel sees
            pictures in grey, and takes floats (1, H, W); one of another number of channels than 1
            or 3 takes arrays of floats alone.

        Returns
        -------
        ndarray of float32, shape (classes,), or (B, classes) for a batch
            With ``final_pool_type`` "all" and no class token, those of every token: (L, classes),
            or (B, L, classes). Of a network without a head (``num_classes`` 0) the features, in
            place of the classes.

        Raises
        ------
        ImageError
            If `images` is none of these, or a file cannot be read; of a batch, ``images[3]`` is the
            fourth picture.
        """
        return self._forward_all(images, "logits")

    def features(self, images: Pictures) -> np.ndarray:
        """Compute what goes into the head: the normalised class token, or the pooled tokens.

        Parameters
        ----------
        images
            As for calling the model.

        Returns
        -------
        ndarray of float32, shape (E,), or (B, E) for a batch or a list
            Where the head reads every token (without a class token, ``final_pool_type`` "max" or
            "all"), those: (L, E), or (B, L, E).

        Raises
        ------
        ImageError
            As for calling the model.
        """
        return self._forward_all(images, "features")

    @overload
    def predict(self, images: Image.Image | PictureFile, top_k: int = 5) -> list[Prediction]: ...
    @overload
    def predict(
        self, images: list[Any] | tuple[Any, ...] | Iterator[Any], top_k: int = 5
    ) -> list[list[Prediction]]: ...
    @overload
    def predict(
        self, images: Pictures, top_k: int = 5
    ) -> list[Prediction] | list[list[Prediction]]: ...
    def predict(
        self, images: Pictures, top_k: int = 5
    ) -> list[Prediction] | list[list[Prediction]]:
        """Predict the likeliest classes, best first.

        Parameters
        ----------
        images
            As for calling the model.
        top_k : int
            How many; all of them where there are fewer classes.

        Returns
        -------
        list of Prediction, or a list of such lists for a batch or a list
            Of each picture as many as `top_k`; of classes that are equally likely the first comes
            first.

        Raises
        ------
        ConfigError
            If `top_k` is no whole number from 1 up, or the network has no head, or logits for
            every token.
        ImageError
            As for calling the model, or if the logits are not finite.
        """
        top_k = checked_count("top_k", top_k)
        self._expect_classes()
        logits = self(images)
        if logits.ndim == 1:
            with naming(name_of(images)) if is_picture_file(images) else nullcontext():
                return self.best_of(logits, top_k)
        answers = []
        for index, row in enumerate(logits):
            with naming(f"images[{index}]"):
                answers.append(self.best_of(row, top_k))
        return answers

    def _expect_classes(self) -> None:
        """Raise ConfigError if the network gives no logits for a whole picture."""
        if not self.config.num_classes:
            raise ConfigError(
                "this network has no head, and so no classes to predict; expected one with a head: "
                "call model.features(...) for what a head would read"
            )
        if len(self._shape_of("logits")) > 1:
            raise ConfigError(
                "final_pool_type is 'all', so there are logits for every token, and none for the "
                "picture; expected another one: call the model for the logits"
            )

    def best_of(self, logits: np.ndarray, top_k: int) -> list[Prediction]:
        """Give the likeliest classes by a picture's logits, best first.

        Parameters
        ----------
        logits : ndarray of float32, shape (classes,)
            As calling the model gives them for one picture.
        top_k : int
            How many; all of them where there are fewer classes.

        Returns
        -------
        list of Prediction
            As :meth:`predict` gives it.

        Raises
        ------
        ImageError
            If the logits are not finite.
        """
        best = best_first(logits)[:top_k]
        with np.errstate(over="ignore"):  # of logits that far apart, the score is 0
            scores = np.exp(logits - logits.max())
        scores /= scores.sum()
        labels = self.metadata.labels
        return [Prediction(int(i), labels[i] if labels else None, float(scores[i])) for i in best]

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes by their index, where the weights file has some."""
        return self.metadata.labels

    def summary(self) -> str:
        """Describe what the network is made of and how it runs, to be printed.

        Returns
        -------
        str
            A line with the class's name, and one for each fact.
        """
        (height, width), preprocessing = self.config.img_size, self._preprocessing
        pictures = f"{height}x{width} pixels"
        if preprocessing.takes_pictures:
            grey = " in grey" if preprocessing.channels == 1 else ""
            pictures += f"{grey}, {preprocessing.crop_pct} of a picture's height or width"
        else:
            pictures += f" of {preprocessing.channels} channels, normalised arrays only"
        labels = "with" if self.labels else "without"
        classes = f"{self.config.num_classes:,}, {labels} labels"
        facts = {
            "pictures": pictures,
            **self._facts(),
            "classes": classes if self.config.num_classes else "no head: the logits are features",
        }
        return self._summary(facts)

    def preprocess(self, picture: Picture) -> np.ndarray:
        """Preprocess a picture as this network takes it: resize, crop and normalise it.

        Parameters
        ----------
        picture : PIL.Image.Image, path-like, binary file, or array (dtypes, shapes: see calling)
            A single one, as calling the model takes it.

        Returns
        -------
        ndarray of float32, shape (channels, H, W)
            Of the size ``config.img_size``. The model takes it in the picture's place.

        Raises
        ------
        ImageError
            As for calling the model.
        """
        return to_input(picture, self.config.img_size, self._preprocessing)

    @property
    def _preprocessing(self) -> Preprocessing:
        preprocessing = self.metadata.preprocessing
        assert preprocessing is not None  # metadata of a network of pictures have it
        return preprocessing

    def _forward_all(self, images: Pictures, output: Hashable) -> np.ndarray:
        """What is asked for of an image, or of each one of a batch."""
        if not is_batch(images):
            return self._forward_inputs(self._inputs(images), 1, output)[0]
        return self._forward_inputs(self._inputs(images), length_hint(images), output)

    def _inputs(self, images: Pictures) -> Iterator[np.ndarray]:
        """The normalised pixels of an image, or of each one of a batch."""
        if not is_batch(images):
            yield self.preprocess(cast("Picture", images))
            return
        for index, image in enumerate(images):
            yield self._member(index, image)

    def _forward_inputs(
        self,
        inputs: Iterable[np.ndarray],
        expected: int,
        output: Hashable,
        trace: Trace | None = None,
    ) -> np.ndarray:
        """What is asked for of each picture's pixels, of which there are about so many."""
        inputs = iter(inputs)
        shape = self._shape_of(output)
        out = np.empty((expected, *shape), np.float32)
        done = 0
        while part := list(islice(inputs, self._network.inputs_at_once)):
            end = done + len(part)
            if end > len(out):  # a generator does not know how many it gives
                out = np.concatenate([out, np.empty((end, *shape), np.float32)])
            self._network.forward(part, out[done:end], output=output, trace=trace)
            done = end
        return out[:done]

    def _member(self, index: int, image: Picture) -> np.ndarray:
        """One of a batch -> its normalised pixels."""
        with naming(f"images[{index}]"):
            return self.preprocess(image)
