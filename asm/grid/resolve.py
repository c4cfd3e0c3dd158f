"""From params.yaml and a profile to the configuration of each stage instance, and the grid the reports read.

A cell's file holds exactly the sections its method reads, so a change of one method's key re-trains only
that method's cells, and only those that do not set the key themselves. Each file holds the hash of the code
that will read it, so a change of code re-runs exactly the stages that it touches.
"""

from pathlib import Path
from typing import Any

from asm import datasets
from asm.basics.code import code_hash
from asm.basics.errors import InputError
from asm.basics.yaml import dump_yaml, parse
from asm.grid.params import METHODS, Align, Params
from asm.grid.profile import Profile
from asm.methods import Method, cell_config
from asm.methods.config import COMMON_SECTIONS, CellConfig
from asm.parts.backbones import backbone_class
from asm.parts.weights.base import Network
from asm.training.features import Features


def resolve_cell(params: Params, profile: Profile, cell: str) -> CellConfig:
    """One cell's configuration: params.yaml and the profile's size; the method's `published` schedule, where
    the cell asks for it; the data set's `set`; the row's own `set`."""
    row = profile.cells[cell]
    method = METHODS[row.method]
    where = f"profile: cells.{cell}"
    sections = (*COMMON_SECTIONS, *method.sections)
    schedule = row.schedule or profile.schedule
    content = {
        "cell": cell,
        **row.model_dump(exclude={"set"}),
        "schedule": schedule,
        "code": "",  # set where the file is written
        "training": profile.training.model_dump(),
        **{name: getattr(params, name).model_dump() for name in sections},
    }
    _check_input(profile, cell, schedule, method)
    if schedule == "published":
        own, of_method = dict(params.published[row.method]), f"params.yaml: published.{row.method}"
        with_noise = own.pop("with_noise", {})
        _override(content, own, ("training", *sections), of_method, row.method)
        if profile.noises[row.noise].rate != 0:  # drawn, or annotators' own, whose rate is not known
            _override(content, with_noise, sections, f"{of_method}.with_noise", row.method)
    of_dataset = profile.datasets[row.dataset].set
    if unknown := set(of_dataset) - set(Params.model_fields) - {"training"}:
        raise InputError(f"profile: datasets.{row.dataset}.set: no section {sorted(unknown)}")
    read = {name: values for name, values in of_dataset.items() if name in content}
    _override(content, read, tuple(read), f"profile: datasets.{row.dataset}.set", row.method)
    _override(content, row.set, ("training", *sections), f"{where}.set", row.method)
    for key in ("input", "image_size", "backbone", "width"):
        if content["training"][key] != getattr(profile.training, key):
            raise InputError(f"{where}: training.{key} belongs to the whole profile; a cell cannot set it")
    told = method.noise_rate_key
    if told and content[row.method][told] is None:
        content[row.method][told] = profile.noises[row.noise].rate
        if content[row.method][told] is None:
            raise InputError(
                f"{where}: {row.method} has to be told the share of wrong labels, and noise "
                f"'{row.noise}' has no rate; add set: {{{row.method}: {{{told}: ...}}}}"
            )
    return parse(cell_config(method), content, f"{where} (its `set` applied)")


def _check_input(profile: Profile, cell: str, schedule: str, method: type[Method]) -> None:
    """What cannot be had from features of views that were made beforehand is refused."""
    row = profile.cells[cell]
    image_size, where = profile.training.image_size, f"profile: cells.{cell}"
    if profile.training.input == "features":
        if method.needs_pixels:
            raise InputError(
                f"{where}: method '{row.method}' {method.needs_pixels}; training.input is 'features'"
            )
        if schedule == "published":
            raise InputError(
                f"{where}: `schedule: published` has views of its own; training.input is 'features'"
            )
        for changes in (row.set, profile.datasets[row.dataset].set):
            if views := changes.keys() & {"augment", "strong_augment"}:
                raise InputError(
                    f"{where}: {sorted(views)} cannot be set here: with training.input 'features' the views "
                    "are those of the whole profile (params.yaml)"
                )
    if image_size < (smallest := backbone_class(profile.training.backbone).smallest_image):
        raise InputError(
            f"profile: training.image_size: {profile.training.backbone} needs images of {smallest} pixels or "
            f"more, found {image_size}"
        )


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


def grid(params: Params, profile: Profile, name: str) -> dict[str, Any]:
    """The profile as the reports read it: its axes, its size, its methods and every cell with its changed
    keys."""
    return {
        "profile": name,
        "datasets": {
            key: {"source": entry.source, **datasets.describe(key, entry.source, entry.options)}
            for key, entry in profile.datasets.items()
        },
        "noises": {k: {"kind": n.kind, "rate": n.rate} for k, n in profile.noises.items()},
        "inits": {k: {"weights": i.weights, "about": i.about} for k, i in profile.inits.items()},
        "methods": {
            key: {
                "title": kind.title,
                "told_noise_rate": kind.noise_rate_key is not None,
                "ours": kind.ours,
            }
            for key, kind in METHODS.items()
        },
        **profile.training.model_dump(),
        "defaults": {
            f"{section}.{key}": value
            for section in METHODS["asm"].sections
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


def write_configs(params: Params, profile: Profile, name: str, out: Path) -> None:
    """Write one small yaml per stage instance, so that each stage depends on exactly what it reads:
    `<stage>/<key>.yaml`, for stages that need no values `<stage>.yaml`, and `report.yaml`, the grid.
    """

    def write(stage: str, key: str | None, content: dict[str, Any]) -> None:
        path = out / (f"{stage}.yaml" if key is None else f"{stage}/{key}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        content = content | {"code": code_hash(stage, content)}
        path.write_text(dump_yaml(content), encoding="utf-8")

    training = profile.training
    for key in profile.cells:
        write("train", key, resolve_cell(params, profile, key).model_dump(exclude={"code"}))
    for key in profile.out_of_sample:
        cell = resolve_cell(params, profile, key)
        write("out_of_sample", key, cell.model_dump(exclude={"code"}))
        write("assess", key, cell.model_dump(include={"cell", "method", "thresholds"}))
    for key, entry in profile.datasets.items():
        where = f"profile: datasets.{key}.align"
        align = parse(Align, {**params.align.model_dump(), **entry.align}, where)
        content = entry.model_dump(exclude={"align", "set"})
        write("align", key, {**content, "align": {"size": training.image_size, **align.model_dump()}})
    for key, noise in profile.noises.items():
        write("corrupt", key, {**noise.model_dump(exclude_none=True), **params.noise.model_dump()})
    for key, init in profile.inits.items():
        network = training.model_dump(include=set(Network.model_fields))
        sections = {name: getattr(params, name).model_dump() for name in init.sections}
        write("init", key, {**init.model_dump(exclude_none=True), "network": network, **sections})
    for key, init in profile.frozen.items():
        content = {"backbone": training.backbone, "width": training.width, "init": init}
        for section in ("features", "augment", "strong_augment"):
            content[section] = getattr(params, section).model_dump()
        content["features"] |= profile.datasets[key].set.get("features", {})
        parse(Features, content["features"], f"profile: datasets.{key}.set.features")
        write("features", key, content)
    for key, render in profile.render.items():
        write("render", key, render.model_dump())
    write("evaluate", None, {})
    write("tsne", None, {})
    write("report", None, grid(params, profile, name))
