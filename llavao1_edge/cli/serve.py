"""`llavao1-edge serve`: the model for other programs, over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llavao1_edge.cli import options as shared
from llavao1_edge.errors import UsageError
from llavao1_edge.locate import model_paths
from llavao1_edge.settings import MOST_PARALLEL, digits, is_here

if TYPE_CHECKING:
    from llavao1_edge.serve.app import Options

EPILOG = """\
examples:
  llavao1-edge serve
  llavao1-edge serve --model LLaVA-CoT-Q8_0.gguf --strategy stage-beam --candidates 4
  llavao1-edge serve --host 0.0.0.0 --api-key-file keys.txt --model LLaVA-CoT-Q8_0.gguf

Then, from any program that speaks the OpenAI protocol: the address http://127.0.0.1:8080/v1, the
models llavao1, llavao1:fast, llavao1:careful and llavao1:thorough. See docs/serving.md.
"""
NAME, PORT = "llavao1", 8080
PARALLEL = 1
QUEUE, MOST_QUEUE, TIMEOUT_S = 16, 10_000, 600.0
BACKLOG = 128


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "serve",
        help="answer other programs over HTTP (OpenAI's protocol)",
        description="Answers other programs over HTTP, in OpenAI's protocol, until it is stopped.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = parser.add_argument_group("server")
    group.add_argument("--host", default="127.0.0.1", help="where to listen (default 127.0.0.1)")
    group.add_argument("--port", default=str(PORT), help=f"default {PORT}; 0 for any that is free")
    group.add_argument(
        "--api-key-file", metavar="FILE", help="keys, one in a line; needed beyond this machine"
    )
    group.add_argument(
        "--served-model-name",
        action="append",
        metavar="NAME",
        help=f"what requests call the model (default {NAME}); may be given several times",
    )
    group.add_argument(
        "--parallel",
        default=str(PARALLEL),
        metavar="N",
        help=f"answers written at once, token by token in the same batch (default {PARALLEL})",
    )
    group.add_argument(
        "--queue",
        default=str(QUEUE),
        metavar="N",
        help=f"questions that may wait (default {QUEUE})",
    )
    group.add_argument(
        "--timeout",
        default=f"{TIMEOUT_S:g}",
        metavar="S",
        help=f"seconds an answer may take (default {TIMEOUT_S:g})",
    )
    group.add_argument(
        "--allow-urls",
        metavar="HOST,…",
        help="hosts that pictures are fetched from, *.example.org for all below it; default: none",
    )
    group.add_argument(
        "--cors-origin",
        action="append",
        metavar="URL",
        help="a web page that may ask, such as http://localhost:3000; may be given several times",
    )
    group.add_argument("--script", help=argparse.SUPPRESS)  # for tests: says what a file says
    shared.add_search_options(parser)
    shared.add_model_options(parser)
    parser.set_defaults(run=run, own_process=True)


def run(options: argparse.Namespace) -> int:
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"serving needs the package {error.name}", hint="pip install 'llavao1-edge[serve]'"
        ) from None
    arguments = _engine(options)
    settings = _settings(options)
    parallel = shared.whole("--parallel", options.parallel, low=1, high=MOST_PARALLEL)
    most = shared.whole("--queue", options.queue, low=0, high=MOST_QUEUE)
    timeout = _seconds(options.timeout)
    with contextlib.closing(listen(options.host, _port(options.port))) as socket_:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(_serve(socket_, arguments, settings, parallel, most, timeout))
    return 0


def _engine(options: argparse.Namespace) -> dict[str, Any]:
    """For `worker.open_engine`. Raises UsageError, ModelFileError."""
    strategy = shared.strategy(options)
    found: dict[str, Any] = {"strategy": strategy.name, "options": _options_of(strategy)}
    if options.script:
        return {**found, "script": options.script}
    text, mmproj = model_paths(options.model, options.mmproj)
    runtime = asdict(shared.runtime_settings(options))
    # The engine's process may have another working folder than whoever starts it again.
    paths = {"text": str(Path(text).resolve()), "mmproj": str(Path(mmproj).resolve())}
    return {**found, **paths, "settings": runtime}


def _options_of(strategy: Any) -> dict[str, Any]:
    from llavao1_edge.search import options_of

    return dict(options_of(strategy))


def _settings(options: argparse.Namespace) -> Options:
    from llavao1_edge.serve.app import Options
    from llavao1_edge.serve.request import Defaults

    names = tuple(options.served_model_name or [NAME])
    for name in names:
        if not name.strip() or ":" in name:
            raise UsageError(
                f"--served-model-name is {name!r}", hint="It must be a name without a colon."
            )
    keys = _keys(options.api_key_file)
    if not keys and not is_here(options.host):
        raise UsageError(
            f"--host {options.host} can be reached by others",
            hint="Give the keys that they need with --api-key-file FILE.",
        )
    return Options(
        Defaults(
            names,
            shared.strategy(options),
            shared.sampling_settings(options),
            shared.budget_settings(options),
            options.seed,
        ),
        keys=keys,
        allowed_urls=[one.strip() for one in (options.allow_urls or "").split(",") if one.strip()],
        origins=options.cors_origin or [],
        names=[options.host],
    )


def _keys(name: str | None) -> list[str]:
    """One in a line; empty lines and those with # are none. Raises UsageError."""
    if name is None:
        return []
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the keys in {name}: {error}", hint="Check it.") from None
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise UsageError(f"{name} holds no key", hint="Write one into each line.")
    if any(len(key) < 16 or not key.isascii() or " " in key for key in keys):
        raise UsageError(
            f"a key in {name} can be guessed or cannot be sent",
            hint="A key has at least 16 letters or digits: openssl rand -hex 24",
        )
    return keys


def _port(text: str) -> int:
    number = digits(text)
    if number is None or number > 65535:
        raise UsageError(f"--port is {text[:40]!r}", hint="It must be a number from 0 to 65535.")
    return number


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 86_400:
        raise UsageError(f"--timeout is {text!r}", hint="It must be from 1 to 86400 seconds.")
    return found


def listen(host: str, port: int) -> socket.socket:
    """The listening socket, before the model is loaded: that may take a minute.

    Raises UsageError where nobody can listen there.
    """
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        made = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot listen on {host}:{port}: {reason}",
            hint="Give another --port, or stop what listens there.",
        ) from None
    return made


async def _serve(
    socket_: socket.socket,
    arguments: dict[str, Any],
    settings: Options,
    parallel: int,
    most_waiting: int,
    timeout: float,
) -> None:
    import uvicorn

    from llavao1_edge.serve.app import Server
    from llavao1_edge.serve.metrics import Metrics
    from llavao1_edge.serve.process import EngineProcess

    engine = EngineProcess(
        arguments,
        parallel=parallel,
        most_waiting=most_waiting,
        timeout=timeout,
        metrics=Metrics(),
    )

    class _Stopping(uvicorn.Server):
        """Ends the answers first: each still gets its last words."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await engine.close()
            await super().shutdown(sockets)

    print("loading the model", file=sys.stderr, flush=True)
    try:
        await engine.start()
        host, port = socket_.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"listening on http://{shown}:{port}/v1", file=sys.stderr, flush=True)
        config = uvicorn.Config(
            Server(engine, settings).app(),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        await _Stopping(config).serve(sockets=[socket_])
    finally:
        await engine.close()
