"""Names of classes and images: what makes two of them one, and which cannot be used."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from asm.basics.errors import InputError

_FORMULA = re.compile(r"[=+\-@]")  # what spreadsheets run when they open a csv file


def same_text(name: str) -> str:
    """One form for what looks the same: macOS writes an accent as a letter of its own."""
    return unicodedata.normalize("NFC", name)


def alike(name: str) -> str:
    """Equal for names of which one is most likely a slip of the other: in case, blanks, leading zeros."""
    if name.isdecimal() and len(name) < 100:
        return str(int(name))
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def by_number(name: str) -> tuple[str | int, ...]:
    """Key to sort names in which numbers count by their value: 2 before 10, `au2` before `au10`."""
    parts = re.split(r"(\d{1,99})", name)  # text and digits in turn
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts))


def printable(name: str) -> str:
    """A file's name as text that can be written, also if it is not UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def check_names(dataset: str, classes: Sequence[str], ids: Iterable[str]) -> None:
    """Raise InputError for a name that could not be written into the tables, or would be harmful there: one
    that is not UTF-8, one that begins like a formula; and for a class that is empty, has characters that end
    a line or a table's cell, or looks like another."""
    known: dict[str, str] = {}
    for name in classes:
        if problem := _problem_of_class(name):
            raise InputError(f"{dataset}: the class {name!a} {problem}. Rename it.")
        if (other := known.setdefault(alike(name), name)) != name:
            raise InputError(
                f"{dataset}: the classes {other!a} and {name!a} look like one. Spell the two alike."
            )
    ids = list(ids)
    try:
        "\n".join(ids).encode()
    except UnicodeEncodeError:
        name = next(name for name in ids if printable(name) != name)
        raise InputError(
            f"{dataset}: the name of the file {printable(name)} is not UTF-8. Rename the file."
        ) from None
    for name in ids:
        if _FORMULA.match(name):
            raise InputError(
                f"{dataset}: the image {name!r} begins like a spreadsheet's formula. Rename it, or put the "
                "images into a folder."
            )


def _problem_of_class(name: str) -> str | None:
    if not name.strip() or len(name) > 100:
        return "has no name" if not name.strip() else "has a name of more than 100 characters"
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
        return "has characters that are not UTF-8, control something or end a line"
    if _FORMULA.match(name):
        return "begins like a spreadsheet's formula"
    return "holds a '|', which ends a cell in tables" if "|" in name else None
