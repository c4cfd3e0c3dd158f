"""Odd values and damaged files, for the tests that try what people may feed the project."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from asm.basics.errors import InputError

TOKENS = [
    *("", "-1", "0", "1", "7", "8", "1.5", "nan", "inf", "1e400", "1_0", "٣", "9" * 30, "9" * 5000, "true"),
    *("null", "../x", "/etc/passwd", "./", "\\", ".", "a b", "a 1 2", "#2", "=1+1", "$x^$", "|", "é"),
    *("e\u0301", "\u2028", ",", ";", "\t", '"', "'", "\n", "\r", "\0", "\x1b", "\ufeff", " ", "train"),
    *("test", "sad", "x" * 200_000, "{", "}", "[", "]", ": ", "- ", "&a ", "*a", "<<", "? ", "%", "@"),
    *("!!int ", "!!set ", "!!python/name:os.system "),
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([token for token in TOKENS if len(token) < 1000])
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """What may happen to a file: an editor, a spreadsheet, a bad disk, a bad program."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["cut", "byte", "insert", "replace", "drop", "twice", "swap", "encode"]),
                st.floats(0, 1),
                st.sampled_from(TOKENS) | st.text(max_size=3),
                st.integers(0, 255),
            ),
            min_size=1,
            max_size=3,
        )
    )

    def apply(content: bytes) -> bytes:
        for kind, place, token, value in steps:
            content = _damaged(content, kind, place, token.encode("utf-8", "surrogatepass"), value)
        return content

    return apply


def _damaged(content: bytes, kind: str, place: float, token: bytes, value: int) -> bytes:
    at = int(place * len(content))
    if kind == "cut":
        return content[:at]
    if kind == "byte":
        return content[:at] + bytes([value]) + content[at + 1 :]
    if kind == "insert":
        return content[:at] + token + content[at:]
    if kind == "encode":
        text = content.decode("utf-8", "replace")
        return [content.replace(b",", b";"), text.encode("utf-16"), b"\xef\xbb\xbf" + content][value % 3]
    if kind == "replace":  # a word: what separators enclose
        start = max(content.rfind(sign, 0, at) for sign in (b",", b"\n", b" ", b":")) + 1
        ends = [end for sign in (b",", b"\n", b" ") if (end := content.find(sign, max(at, start))) >= 0]
        return content[:start] + token + content[min(ends, default=len(content)) :]
    lines = content.split(b"\n")
    line = int(place * (len(lines) - 1))
    if kind == "drop":
        return b"\n".join(lines[:line] + lines[line + 1 :])
    if kind == "twice":
        return b"\n".join(lines[: line + 1] + lines[line:])
    other = value % len(lines)
    lines[line], lines[other] = lines[other], lines[line]
    return b"\n".join(lines)


NAMES = (
    st.binary(min_size=1, max_size=6).filter(lambda name: not set(name) & set(b"/\0\n"))
    | st.integers(200, 250).map(lambda count: b"x" * count)
    | st.text("äжあ\u0301", min_size=1, max_size=80).map(str.encode)
    | st.sampled_from(b"caf\xe9| |..|-rf|=1|a\nb|a\tb|a\"b|a'b|%s|$x|~|#2".split(b"|"))
)


@st.composite
def odd_files(draw: st.DrawFn) -> Callable[[Path], None]:
    """Puts a png file of any name beside an image: the same, nothing, a link to it or to nowhere."""
    name, kind = draw(NAMES), draw(st.sampled_from(["file", "link", "broken", "loop", "empty"]))

    def put(image: Path) -> None:
        path = os.fsencode(image.parent) + b"/" + name + b".png"
        with contextlib.suppress(OSError):  # a name that this file system does not take
            if kind == "file":
                os.link(image, path)
            elif kind == "empty":
                open(path, "xb").close()
            else:
                target = {"link": image, "broken": image.with_name("none")}.get(kind, os.fsdecode(path))
                os.symlink(target, path)

    return put


def works_or_says_why(call: Callable[[], object], *named: str | Path) -> None:
    """Fail unless `call` returns, or raises an InputError in few words that contains one of `named`."""
    try:
        call()
    except InputError as error:
        message = str(error)
        assert any(str(name) in message for name in named), message
        assert len(message.splitlines()) == 1 or "Expected there:" in message or "\n  " in message, message
        assert len(message) < 5000, message[:1000]
