"""The one exception for everything a user can mend, and how a command reports it."""

import contextlib
import sys
from collections.abc import Iterator


class InputError(ValueError):
    """Bad input: the message names the file, key or row, what was expected and found, and the remedy."""


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """End the process with exit code 1 and the message alone on an InputError: no traceback to read past."""
    try:
        yield
    except InputError as error:
        sys.exit(f"error: {error}")
