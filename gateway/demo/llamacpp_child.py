"""The process that holds a llama.cpp server: ``python -m gateway.demo.llamacpp --model F --alias NAME [...]``.

Writes its port to standard output once it listens. Ends on SIGTERM, on SIGINT and, with ``--with-parent``, when standard
input closes. Imports nothing heavy: it should be listening a few hundredths of a second after it starts.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

PARENT_CHECK = 1.0  # seconds; the second way of noticing that the parent is gone
ERRORS_AND_WARNINGS = 2  # llama.cpp's verbosity; 3 would log a few lines for each request
MOST_EMBEDDED = 4096  # tokens of one text; its own default is 512
PROMPT_CACHE_MIB = 64  # its own default is 8 GiB


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    parent = os.getppid()
    try:
        import xllamacpp
    except ImportError as error:
        sys.stderr.write(f"the llama.cpp server needs the xllamacpp package: {error}\n")
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        server = xllamacpp.Server(_params(xllamacpp, options))
        sys.stdout.write(f"{urlsplit(server.listening_address).port}\n")
        sys.stdout.flush()
        _wait(parent if options.with_parent else None)
    except RuntimeError as error:
        sys.stderr.write(f"llama.cpp did not start: {error}\n")
        return 1
    except KeyboardInterrupt:
        pass
    # The C++ server's own shutdown waits for its open streams; whoever stops us does not want to.
    os._exit(0)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.llamacpp", description="one llama.cpp HTTP server")
    parser.add_argument("--model", required=True, help="a GGUF file")
    parser.add_argument("--alias", required=True, help="the model name it answers to")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one, printed")
    parser.add_argument("--parallel", type=int, default=4, help="slots")
    parser.add_argument("--ctx", type=int, default=32768, help="tokens of context, shared by the slots")
    parser.add_argument("--threads", type=int, default=1, help="more only pays for models of real size")
    parser.add_argument("--cache-ram", type=int, default=PROMPT_CACHE_MIB, help="MiB for prompts beyond the slots'")
    parser.add_argument("--embedding", action="store_true", help="serve embeddings instead of chat")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input closes")
    return parser.parse_args(arguments)


def _params(xllamacpp: Any, options: argparse.Namespace) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias}
    params.hostnames, params.port = [options.host], options.port
    params.n_parallel, params.n_ctx = options.parallel, options.ctx
    # One thread: its compute threads spin at a barrier, and with fewer free cores than threads a token took 50 ms.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    # Flash attention was measured to be half as fast as the plain kind for models this small on a CPU.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.endpoint_metrics = params.endpoint_slots = True
    params.warmup = params.ui = False
    params.cache_ram_mib, params.verbosity = options.cache_ram, ERRORS_AND_WARNINGS
    if options.embedding:
        params.embedding = True
        params.n_batch = params.n_ubatch = MOST_EMBEDDED  # a text to embed must fit in one batch
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    if key := os.environ.get("TIDEGATE_LLAMA_API_KEY"):
        params.api_keys = [key]
    return params


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait(parent: int | None) -> None:
    """Until a signal, or until ``parent`` is gone: its end of our standard input closes, or we have another parent."""
    if parent is None:
        while True:
            signal.pause()
    while os.getppid() == parent:
        ready, _, _ = select.select([0], [], [], PARENT_CHECK)
        with contextlib.suppress(BlockingIOError):
            if ready and not os.read(0, 4096):
                return


if __name__ == "__main__":
    sys.exit(main())
