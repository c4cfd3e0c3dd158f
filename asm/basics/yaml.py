"""Typed yaml: sections whose unknown or ill-typed keys are errors that name the file and the key."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from asm.basics.errors import InputError

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Scale = Annotated[float, Field(ge=1e-6, le=1e6)]  # a temperature, a length: what is divided by
Positive = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=1, le=65_536)]  # units, samples of a batch, epochs: more is a slip
Seed = Annotated[int, Field(ge=0, lt=2**53)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
# fair: every method in the common schedule; published: in the one of its own paper (params.yaml, `published`)
Schedule = Literal["fair", "published"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


T = TypeVar("T", bound=Section)
_SHOWN = 10  # faults of one file


def below(folder: str) -> Callable[[str], str]:
    """A check of a path that a setting names: it has to lie below `folder`, which DVC watches, so that
    another file under the same name is noticed."""

    def check(path: str) -> str:
        parts = PurePosixPath(path).parts
        if PurePosixPath(path).is_absolute() or ".." in parts or not parts:
            raise ValueError(f"the path '{path}' is not below {folder}; put the file there and give its name")
        if PurePosixPath(path).is_relative_to(folder):
            raise ValueError(f"the path '{path}' is taken from {folder}; leave that part out")
        return path

    return check


class _Dumper(yaml.SafeDumper):
    """Quotes each text but plain words, which YAML 1.1 and 1.2 might read as something else."""

    def text(self, value: str) -> yaml.ScalarNode:
        plain = value[:1].isalpha() and value.isascii() and value.isprintable()
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(str, _Dumper.text)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML 1.2 mapping, as DVC reads the same file: 1e-5 is a number; no, on and 1:30 are text.

    Raises:
        InputError: the file is missing or malformed, or a key stands twice in a mapping.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, found: {error}; save it as UTF-8") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        found = " ".join(str(error.problem or error.context).split())
        raise InputError(f"{path}: not valid YAML: {where}{found}") from error
    except Exception as error:  # its constructors raise whatever a value such as `!!int x` makes them raise
        found = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: not valid YAML: {found}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping of keys to values, found {type(content).__name__}")
    return content


def dump_yaml(content: dict[str, Any]) -> str:
    """Text that `read_yaml` reads as `content`, its keys sorted."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=float("inf"))


def dump_rows(content: dict[str, Any]) -> str:
    """The same in the order of its keys, with what holds nothing deeper on one line."""
    options = {"sort_keys": False, "default_flow_style": None, "width": float("inf")}
    return yaml.dump(content, Dumper=_Dumper, allow_unicode=True, **options)


def parse(model: type[T], content: dict[str, Any], where: str) -> T:
    """Validate `content`; the first faults are named with their dotted keys and `where` they stand."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = []
        # an unknown key first: it is the misspelt form of one that is missing
        for fault in sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden"):
            key = ".".join(map(str, fault["loc"])) or "(top level)"
            found = f" (found {_short(fault['input'])})"
            if fault["type"] == "extra_forbidden":
                known = ", ".join(_known_keys(model, fault["loc"][:-1]))
                faults.append(f"{key}: unknown key; known here: {known}")
            elif fault["type"] == "missing":
                faults.append(f"{key}: missing; it needs a value")
            elif fault["type"] == "value_error":
                faults.append(f"{key}: {fault['ctx']['error']}")
            elif fault["type"] == "string_type" and isinstance(fault["input"], bool | int | float):
                faults.append(f"{key}: {fault['msg']}{found}; put it in quotes")
            else:
                faults.append(f"{key}: {fault['msg']}{found}")
        more = [f"and {len(faults) - _SHOWN} more like these"] * (len(faults) > _SHOWN)
        raise InputError(f"{where}: " + "\n  ".join(faults[:_SHOWN] + more)) from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _known_keys(model: type[BaseModel], location: tuple) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if nested:
            model = nested[0]
    return sorted(model.model_fields)
