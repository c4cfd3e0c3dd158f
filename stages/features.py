"""The bank of views of one data set: features of a frozen backbone, computed once for all cells."""

import bootstrap

from asm.basics.errors import InputError, reported
from asm.basics.files import exclusive
from asm.basics.yaml import parse
from asm.faces import store
from asm.parts import backbones
from asm.parts.device import pick_device
from asm.parts.views import Augment, StrongAugment
from asm.parts.weights import read_weights
from asm.training.features import Features, write_bank

if __name__ == "__main__":
    args = bootstrap.arguments(__doc__, "--config", "--faces", "--init", "--out", "--work")
    with reported():
        config = bootstrap.configuration(args.config, "features")
        weights = args.init / "weights.safetensors"
        if not weights.is_file():
            raise InputError(f"{args.init}: `weights: none` leaves nothing to freeze; name another init")
        name, width = config["backbone"], config["width"]
        network = backbones.build(name, 1, width, read_weights(weights, name, width), head_seed=0)
        sections = {"features": Features, "augment": Augment, "strong_augment": StrongAugment}
        options = [parse(kind, config[key], f"{args.config}: {key}") for key, kind in sections.items()]
        places = {"out": args.out, "work": args.work, "device": pick_device(), "stamp": config["code"]}
        with exclusive(args.work):
            print(write_bank(store.load(args.faces), network, *options, **places))
