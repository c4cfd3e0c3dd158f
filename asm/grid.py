"""From params.yaml and a profile to the configuration of each stage instance, and the grid the reports read.

A cell's file holds exactly the sections its method reads, so a change of one method's key re-trains only
that method's cells, and only those that do not set the key themselves.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from asm.errors import InputError
from asm.method_params import METHOD_SECTIONS
from asm.params import COMMON_SECTIONS, Align, CellConfig, Params, Profile
from asm.schema import parse

# Of the data sets that the paper reports, where the profile's options do not say.
USUAL_CLASSES = {"synthetic": 7, "rafdb": 7, "ferplus": 8, "affectnet": 8}


def resolve_cell(params: Params, profile: Profile, cell: str) -> CellConfig:
    """One cell's configuration: params.yaml and the profile's size; the method's `published` schedule, where
    the cell asks for it; the data set's `set`; the row's own `set`."""
    row = profile.cells[cell]
    where = f"profile {profile.profile}: cells.{cell}"
    sections = (*COMMON_SECTIONS, *METHOD_SECTIONS[row.method])
    schedule = row.schedule or profile.schedule
    content = {
        "cell": cell,
        **row.model_dump(exclude={"set"}),
        "schedule": schedule,
        "training": profile.training.model_dump(),
        **{name: getattr(params, name).model_dump() for name in sections},
    }
    published = params.published.get(row.method, {}) if schedule == "published" else {}
    _override(content, published, ("training", *sections), f"params.yaml: published.{row.method}", row.method)
    of_dataset = profile.datasets[row.dataset].set
    if unknown := set(of_dataset) - set(Params.model_fields) - {"training"}:
        raise InputError(
            f"profile {profile.profile}: datasets.{row.dataset}.set: no section {sorted(unknown)}"
        )
    read = {name: values for name, values in of_dataset.items() if name in content}
    _override(
        content, read, tuple(read), f"profile {profile.profile}: datasets.{row.dataset}.set", row.method
    )
    _override(content, row.set, ("training", *sections), f"{where}.set", row.method)
    for name in sections:
        if content[name].get("forget_rate", 0) is None:
            content[name]["forget_rate"] = profile.noises[row.noise].rate
            if content[name]["forget_rate"] is None:
                raise InputError(
                    f"{where}: {row.method} has to be told the share of wrong labels, and noise "
                    f"'{row.noise}' has no rate; add set: {{{name}: {{forget_rate: ...}}}}"
                )
    return parse(CellConfig, content, f"{where} (its `set` applied)")


def _override(
    content: dict[str, Any], changes: dict[str, Any], allowed: tuple[str, ...], where: str, method: str
) -> None:
    for name, values in changes.items():
        if name not in allowed:
            raise InputError(f"{where}.{name}: method '{method}' reads only {sorted(allowed)}")
        if not isinstance(values, dict):
            raise InputError(f"{where}.{name}: expected a mapping")
        content[name] = {**content[name], **values}


def changed_keys(params: Params, profile: Profile, cell: str) -> dict[str, Any]:
    """Dotted keys, with their values, in which a cell differs from its method's default in this profile."""
    row = profile.cells[cell]
    plain = profile.model_copy(update={"cells": {cell: row.model_copy(update={"set": {}})}})
    default = resolve_cell(params, plain, cell).model_dump()
    actual = resolve_cell(params, profile, cell).model_dump()
    return {
        f"{section}.{key}": value
        for section, values in actual.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if value != default[section][key]
    }


def grid(params: Params, profile: Profile) -> dict[str, Any]:
    """The profile as the reports read it: its axes, its size and every cell with its changed keys."""
    return {
        "profile": profile.profile,
        "datasets": {
            key: {
                "source": entry.source,
                "classes": entry.options.get("num_classes", USUAL_CLASSES.get(entry.source)),
            }
            for key, entry in profile.datasets.items()
        },
        "noises": {k: {"kind": n.kind, "rate": n.rate} for k, n in profile.noises.items()},
        "inits": {k: {"weights": i.weights} for k, i in profile.inits.items()},
        **profile.training.model_dump(),
        "defaults": {
            f"{section}.{key}": value
            for section in METHOD_SECTIONS["asm"]
            for key, value in getattr(params, section).model_dump().items()
        },
        "cells": [
            {
                "cell": key,
                **row.model_dump(exclude={"set"}),
                "schedule": row.schedule or profile.schedule,
                "changed": changed_keys(params, profile, key),
            }
            for key, row in profile.cells.items()
        ],
    }


def write_configs(params: Params, profile: Profile, out: Path) -> None:
    """Write one small yaml per stage instance, so that each stage depends on exactly what it reads.

    `cells/<cell>.yaml`, `datasets/<dataset>.yaml`, `noises/<noise>.yaml`, `inits/<init>.yaml`,
    `render/<name>.yaml` and `grid.json` (what the reports need).
    """

    def write(kind: str, key: str, content: dict[str, Any]) -> None:
        path = out / kind / f"{key}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=True), encoding="utf-8")

    for key in profile.cells:
        write("cells", key, resolve_cell(params, profile, key).model_dump(exclude_none=True))
    for key, entry in profile.datasets.items():
        align = parse(
            Align,
            {**params.align.model_dump(), **entry.align},
            f"profile {profile.profile}: datasets.{key}.align",
        )
        content = {
            **entry.model_dump(exclude={"align", "set"}),
            "align": {"size": profile.training.image_size, **align.model_dump()},
        }
        write("datasets", key, content)
    for key, noise in profile.noises.items():
        write("noises", key, {**noise.model_dump(exclude_none=True), **params.noise.model_dump()})
    for key, init in profile.inits.items():
        content = {**init.model_dump(exclude_none=True), "width": profile.training.width}
        if init.weights == "synthetic":
            content["size"] = profile.training.image_size
            content["pretrain"] = params.pretrain.model_dump()
            content["augment"] = params.augment.model_dump()
        write("inits", key, content)
    for key, render in profile.render.items():
        write("render", key, render.model_dump())
    (out / "grid.json").write_text(json.dumps(grid(params, profile), indent=1) + "\n", encoding="utf-8")
