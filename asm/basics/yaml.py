"""Typed yaml: sections whose unknown or ill-typed keys are errors that name the file and the key."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

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


# Plain scalars by YAML 1.2, as DVC reads the same files: 1e-5 is a number; no, on and 1:30 are text. The
# first that fits counts.
_SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)", "-+0123456789"),
    "float": (
        r"[-+]?(?:(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))"
        r"|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "merge": (r"<<", "<"),
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}

    def integer(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node).replace("_", "")
        return int(text, 0 if text.lstrip("-+")[:2] in ("0b", "0o", "0x") else 10)

    def text(self, node: yaml.ScalarNode) -> str:
        text = self.construct_scalar(node)
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise yaml.constructor.ConstructorError(None, None, "half a surrogate pair", node.start_mark)
        return text


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or 1.2 would not read as the text that it is."""

    def text(self, value: str) -> yaml.ScalarNode:
        style = '"' if re.search("[\x85\u2028\u2029]", value) else None  # else read back as line ends
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=style)


for _name, (_pattern, _first) in _SCALARS.items():
    for _either in (_Loader, _Dumper):
        _either.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.integer)
_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.text)
_Dumper.add_representer(str, _Dumper.text)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML 1.2 mapping; raise InputError for a missing or malformed file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, found: {error}; save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(f"{path}: not valid YAML: {where}{error.problem or error.context}") from error
    except Exception as error:  # its constructors raise whatever a value such as `!!int x` makes them raise
        found = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: not valid YAML: {found}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping of keys to values, found {type(content).__name__}")
    return content


def dump_yaml(content: dict[str, Any]) -> str:
    """Text that `read_yaml` reads as `content`, its keys sorted."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=True, allow_unicode=True)


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
