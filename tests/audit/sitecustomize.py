"""On the path of every process of a pipeline under test: writes down which files the stages open."""

import os
import sys
from pathlib import Path

FOLDER, STAGE = os.environ.get("ASM_AUDIT"), os.environ.get("ASM_AUDIT_STAGE")
words = getattr(sys, "orig_argv", [])
script = next((i for i, word in enumerate(words) if Path(word).parent.name == "stages"), None)
if FOLDER and script is not None and not STAGE:
    STAGE = " ".join(["python", "-B", *words[script:]])
    os.environ["ASM_AUDIT_STAGE"] = STAGE  # of its children too
if FOLDER and STAGE:
    log = os.open(Path(FOLDER, str(os.getpid())), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, f"{STAGE}\n".encode())

    def note(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            os.write(log, f"{os.path.abspath(os.fsdecode(arguments[0]))}\n".encode())

    sys.addaudithook(note)
