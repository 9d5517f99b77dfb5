from __future__ import annotations

import pytest

from cache.backends.resp import ProtocolError, ReplyError, decode, encode


def test_a_command_is_a_list_of_strings() -> None:
    """Text, bytes and numbers leave as Redis wants them, whatever bytes are in them."""
    assert encode("SET", b"k\r\n", 12) == b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$2\r\n12\r\n"
    assert encode("GET", "ä") == b"*2\r\n$3\r\nGET\r\n$2\r\n\xc3\xa4\r\n"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"+OK\r\n", b"OK"),
        (b":-42\r\n", -42),
        (b"$5\r\na\r\nbc\r\n", b"a\r\nbc"),
        (b"$0\r\n\r\n", b""),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"*2\r\n$1\r\n0\r\n*2\r\n:1\r\n$-1\r\n", [b"0", [1, None]]),
    ],
)
def test_a_reply_is_read_when_it_is_whole_and_not_before(data: bytes, value: object) -> None:
    """Any shorter piece is not a reply yet; what follows is left alone."""
    assert decode(bytearray(data)) == (value, len(data))
    assert decode(bytearray(data + b"+next\r\n")) == (value, len(data))
    for cut in range(len(data)):
        assert decode(bytearray(data[:cut])) is None


def test_an_error_keeps_its_code_and_nothing_else() -> None:
    """What Redis quotes of a command does not get into our errors."""
    reply = decode(bytearray(b"-OOM command not allowed: SET secret\r\n"))
    assert reply is not None
    assert isinstance(reply[0], ReplyError)
    assert str(reply[0]) == reply[0].code == "OOM"


@pytest.mark.parametrize(
    "data",
    [
        b"!5\r\n",
        b"$abc\r\n",
        b"$-5\r\n",
        b"$99999999999\r\n",
        b"*99999999\r\n",
        b"+" + b"x" * 5000,
        b"*1\r\n" * 20 + b":1\r\n",
        b"*1\r\n-ERR no\r\n",
    ],
)
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    """A server that sends nonsense, or announces more than we would hold, is not believed."""
    with pytest.raises(ProtocolError):
        decode(bytearray(data))
