"""``vimnp serve``: networks over HTTP."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vimnp.commands.console import say
from vimnp.commands.ending import Ended
from vimnp.commands.model_options import add_precision
from vimnp.commands.options import add_count
from vimnp.commands.running_options import add_backend_and_threads, add_dtype
from vimnp.commands.weights_option import weights_named
from vimnp.errors import VimnpError
from vimnp.models import BUNDLED, LANGUAGE_MODELS, load
from vimnp.weights.file import WeightsFile

if TYPE_CHECKING:
    from vimnp.serve.limits import Limits

DESCRIPTION = (
    "Serve networks over HTTP: a page for the browser, and an API that the clients of Hugging "
    "Face, OpenAI, DeepStack and CodeProject.AI understand. /openapi.json describes it."
)
EXAMPLE = "vimnp serve --model vim_tiny.npz --port 8000"

_KEY = "VIMNP_API_KEY"
_PACKAGES = ("starlette", "uvicorn", "python_multipart")  # of the extra


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        action="append",
        metavar="[NAME=]WHAT",
        help="a weights file, a name that `vimnp fetch` lists, or one of the bundled networks, "
        "digits and pydoc; clients call it NAME (the file's name); can be given several times "
        "(digits)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen at; 0.0.0.0 is open to all who reach this machine (127.0.0.1: "
        "this machine alone)",
    )
    parser.add_argument(
        "--port", type=_port, default=8000, help="the port; 0 takes any that is free (8000)"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="one more name of this server, for example that of a proxy in front of it",
    )
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"the bearer token that clients must send ({_KEY} in the environment, which the list "
        "of processes does not show)",
    )
    add_count(parser, "--batch", "pictures that go through a network together (8)")
    add_count(parser, "--max-requests", "requests in hand at once; more get 503 (64)")
    add_count(parser, "--max-body", "bytes of a request with a picture (10485760)")
    add_count(parser, "--max-pixels", "of a picture, when it is decoded (50000000)")
    add_count(parser, "--max-prompt", "tokens of a prompt (8192)")
    add_count(parser, "--max-tokens", "tokens that are written (4096)")
    add_count(parser, "--max-seconds", "of a request, from its head to its answer's end (300)")
    add_precision(parser)
    add_dtype(parser)
    add_backend_and_threads(parser)


def run(options: argparse.Namespace) -> int:
    try:
        for package in _PACKAGES:  # starlette misses python_multipart only when a form comes
            importlib.import_module(package)
        from vimnp.serve.app import make_app
        from vimnp.serve.server import (
            address_of,
            is_local,
            listen,
            make_server,
            return_freed_memory,
        )
        from vimnp.serve.server import run as serve
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] == "vimnp":
            raise
        raise VimnpError(
            f"vimnp serve needs the package {error.name}: pip install 'vimnp[serve]'"
        ) from None
    limits = _limits(options)
    models = _load(options)
    key = options.api_key if options.api_key is not None else os.environ.get(_KEY)
    app = make_app(
        models,
        limits=limits,
        hosts=options.allow_host,
        api_key=key,
    )
    return_freed_memory()
    with listen(options.host, options.port) as listener:
        if key is None and not is_local(listener):
            say("there is no --api-key: whoever reaches this machine can ask")
        if options.model is None:
            say("no --model given: serving the bundled model of handwritten digits, 0 to 9")
        address = address_of(listener)
        with contextlib.suppress(KeyboardInterrupt, Ended):  # all was ended in order
            serve(make_server(app), listener, announce=lambda: print(f"{address}/", flush=True))
    return 0


def _limits(options: argparse.Namespace) -> Limits:
    from vimnp.serve.limits import Limits

    asked = {
        "batch": options.batch,
        "requests": options.max_requests,
        "body_bytes": options.max_body,
        "pixels": options.max_pixels,
        "prompt_tokens": options.max_prompt,
        "new_tokens": options.max_tokens,
        "seconds": options.max_seconds,
    }
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    return Limits(**given)


def _load(options: argparse.Namespace) -> dict[str, Any]:
    """The networks by their names."""
    found: dict[str, Any] = {}
    for asked in options.model or ["digits"]:
        name, what = _named(asked)
        if name in found:
            raise VimnpError(
                f"--model {asked}: there is a model {name!r} already; expected NAME={what} with "
                "another name"
            )
        found[name] = _load_one(what, options)
    return found


def _load_one(what: str, options: argparse.Namespace) -> Any:
    path = str(BUNDLED[what]) if what in BUNDLED else weights_named(what, options)
    with WeightsFile(path) as file:
        is_text = file.metadata.config.family.name in LANGUAGE_MODELS
    stored: dict[str, Any] = (
        {"dtype": options.dtype} if is_text else {"precision": options.precision}
    )
    return load(path, num_threads=options.threads, backend=options.backend, **stored)


def _named(asked: str) -> tuple[str, str]:
    """A name for clients, and a weights file or a bundled network."""
    name, sign, what = asked.partition("=")
    if not sign or os.path.exists(asked):
        what = asked
        path = Path(what)
        # A repository's name may have a dot in it, as mamba-1.4b has.
        is_file = path.suffix == ".npz" or path.is_file()
        name = path.stem if is_file and what not in BUNDLED else path.name
    if not name or not what:
        raise VimnpError(f"--model {asked!r}: expected a weights file, or NAME=FILE")
    return name, what


def _port(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected a number from 0 to 65535")
    return int(text)
