"""Typed yaml: sections whose unknown or ill-typed keys are errors that name the file and the key."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from asm.errors import InputError

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Scale = Annotated[float, Field(ge=1e-6, le=1e6)]  # a temperature, a length: what is divided by
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**53)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


T = TypeVar("T", bound=Section)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one yaml mapping; raise InputError for a missing or malformed file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping of keys to values, found {type(content).__name__}")
    return content


def parse(model: type[T], content: dict[str, Any], where: str) -> T:
    """Validate `content`; every fault is named with its dotted key and `where` it stands."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = []
        # an unknown key first: it is the misspelt form of one that is missing
        for fault in sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden"):
            key = ".".join(map(str, fault["loc"])) or "(top level)"
            found = f" (found {fault['input']!r})"
            if fault["type"] == "extra_forbidden":
                known = ", ".join(_known_keys(model, fault["loc"][:-1]))
                faults.append(f"{key}: unknown key; known here: {known}")
            elif fault["type"] == "missing":
                faults.append(f"{key}: missing; it needs a value")
            elif fault["type"] == "value_error":
                faults.append(f"{key}: {fault['ctx']['error']}")
            else:
                faults.append(f"{key}: {fault['msg']}{found}")
        raise InputError(f"{where}: " + "\n  ".join(faults)) from None


def _known_keys(model: type[BaseModel], location: tuple) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if nested:
            model = nested[0]
    return sorted(model.model_fields)
