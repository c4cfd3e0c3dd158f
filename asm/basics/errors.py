"""The one exception for everything a user can mend, and how a command reports it."""

import contextlib
import re
import sys
from collections.abc import Iterator

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class InputError(ValueError):
    """Bad input: the message names the file, key or row, what was expected and found, and the remedy. What it
    quotes may hold anything, so that it is shown without control characters and shortened."""

    def __init__(self, message: str) -> None:
        lines = (_UNSEEN.sub(lambda found: ascii(found[0])[1:-1], line) for line in message.split("\n"))
        super().__init__("\n".join(x if len(x) < 900 else f"{x[:500]} … {x[-300:]}" for x in lines))


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """End the process with exit code 1 and the message alone on an InputError: no traceback to read past."""
    try:
        yield
    except InputError as error:
        sys.exit(f"error: {error}")
