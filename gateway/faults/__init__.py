"""A scripted upstream that misbehaves exactly as told, for tests, chaos runs and anyone who wants to see a fault.

    async with FaultServer() as upstream:
        upstream.script("m", ["Hel", gate, "lo"])             # one SSE event each; ``gate``: an asyncio.Event
        upstream.sequence("m", "503", "reset-midway", Play(["Hello"]))
        ...                                                   # the gateway calls upstream.base_url, model "m"
        (request,) = await upstream.received(1)
        assert request.header("authorization") == "Bearer sk-test"
        assert await request.ended() == "left"                # the cancelled call was dropped
        await upstream.idle()

Or as a process: ``python -m gateway.faults --port N``, with the models ``echo``, ``ok`` and ``fault:NAME``;
``python -m gateway.faults --list`` prints the table below.

"""

from gateway.faults.play import Play, answer
from gateway.faults.record import Outcome, Received
from gateway.faults.server import FaultServer
from gateway.faults.steps import (
    CLOSE,
    DONE,
    END,
    HANG,
    HEAD,
    RESET,
    STOP,
    USAGE,
    Data,
    Finish,
    Forever,
    Gate,
    Head,
    Item,
    Pause,
    Raw,
    Reasoning,
    Refusal,
    Slow,
    Text,
    Tool,
    Usage,
)
from gateway.faults.table import FAULTS, listing

__doc__ = f"{__doc__}{listing()}\n"

__all__ = [
    "CLOSE",
    "DONE",
    "END",
    "FAULTS",
    "HANG",
    "HEAD",
    "RESET",
    "STOP",
    "USAGE",
    "Data",
    "FaultServer",
    "Finish",
    "Forever",
    "Gate",
    "Head",
    "Item",
    "Outcome",
    "Pause",
    "Play",
    "Raw",
    "Reasoning",
    "Received",
    "Refusal",
    "Slow",
    "Text",
    "Tool",
    "Usage",
    "answer",
    "listing",
]
