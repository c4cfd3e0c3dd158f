"""Expressions read off a video: sampled frames, faces followed over them; a csv file and a picture."""

from __future__ import annotations

import csv
import mimetypes
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from asm.basics.errors import InputError
from asm.basics.files import atomic_write, writing
from asm.datasets.names import printable
from asm.faces.detection import Detection
from asm.tools.predict.faces import BATCH, TABLE, Reader, annotate

INSTALL = "pip install '.[video]'"
TIMELINE, COPY = "timeline.png", "annotated.mp4"
OVERLAP = 0.3  # least intersection over union of the boxes of one face in two sampled frames
PATIENCE = 3  # sampled frames after which a face that is not seen is forgotten
SHOWN = 6  # faces in the picture, those seen longest
TICK = Fraction(1, 1000)  # seconds; the unit of time in the annotated copy
END = 1.0  # seconds that the pictures may end before the file's own duration


def is_video(path: Path) -> bool:
    """Whether the file's name says so."""
    return (mimetypes.guess_type(path.name)[0] or "").startswith("video/")


def require() -> None:
    """Raises InputError, with the command, where the extra is not installed."""
    try:
        import av  # noqa: F401
    except ImportError:
        raise InputError(f"a video is read by the package av, which is not installed; {INSTALL}") from None


def sampled(path: Path, fps: float) -> Iterator[tuple[float, np.ndarray]]:
    """`fps` frames a second of a video, or all where it has fewer: seconds from its start, and pixels, uint8
    [H, W, 3] RGB, upright.

    Raises:
        InputError: the file is not a video, is damaged from here on, or ends before it says that it does.
    """
    import av

    time, taken = 0.0, 0
    try:
        with av.open(str(path)) as clip:
            if not clip.streams.video:
                raise InputError(f"{path}: no pictures in this file")
            stream = clip.streams.video[0]
            stream.thread_type = "AUTO"
            start: float | None = None
            for number, frame in enumerate(clip.decode(stream)):
                at = number / float(stream.average_rate or fps) if frame.time is None else frame.time
                start = at if start is None else start
                time = at - start
                if time * fps + 1e-6 < taken:
                    continue
                taken = int(time * fps + 1e-6) + 1
                upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                yield time, np.ascontiguousarray(upright)
            told = (
                float(stream.duration * stream.time_base) if stream.duration else (clip.duration or 0) / 1e6
            )
    except (av.FFmpegError, OSError) as error:
        where = f"damaged after {time:.1f} s" if taken else "cannot be read as a video"
        raise InputError(f"{path}: {where} ({error})") from error
    if told - time > END:
        raise InputError(f"{path}: cut off: it claims {told:.1f} s, its pictures end at {time:.1f} s")


class Followed:
    """Numbers that faces keep from frame to frame, by the overlap of their boxes."""

    def __init__(self) -> None:
        self.frame, self.count = 0, 0
        self.last: dict[int, tuple[int, np.ndarray]] = {}  # number -> frame and box [4]

    def numbers(self, faces: Sequence[Detection]) -> list[int]:
        """Those of the next frame's faces, from 1; together the pairs of boxes overlap the most."""
        self.frame += 1
        self.last = {n: seen for n, seen in self.last.items() if self.frame - seen[0] <= PATIENCE}
        known, found = list(self.last), [0] * len(faces)
        pairs = [_overlap(self.last[number][1], face.box) for number in known for face in faces]
        overlaps = np.reshape(pairs, (len(known), len(faces)))
        for old, new in zip(*linear_sum_assignment(overlaps, maximize=True), strict=True):
            if overlaps[old, new] >= OVERLAP:
                found[new] = known[old]
        for new, face in enumerate(faces):
            if not found[new]:
                self.count += 1
                found[new] = self.count
            self.last[found[new]] = (self.frame, face.box)
        return found


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def predict(path: Path, fps: float, copy: bool, reader: Reader, out: Path) -> Counter[str]:
    """Write `out`/predictions.csv, one row a face and sampled frame (a frame without one has a row without an
    expression), `out`/timeline.png and, where a `copy` is asked for, `out`/annotated.mp4. Rows are written as
    they come; of a file that is damaged or cut, what comes before is kept, and a line says so.

    Returns:
        How many `faces` were followed and `frames` read, and of what else was met, in words.

    Raises:
        InputError: no frame can be read, or `out` cannot be written.
    """
    counts: Counter[str] = Counter()
    frames, followed = sampled(path, fps), Followed()
    times: list[float] = []
    seen: dict[int, dict[float, np.ndarray]] = defaultdict(dict)  # face -> time -> probabilities [K]
    batch = list(islice(frames, 1))
    with writing(out / TABLE):
        out.mkdir(parents=True, exist_ok=True)
        file = open(out / TABLE, "w", newline="", encoding="utf-8")  # noqa: SIM115
    with ExitStack() as stack:
        table = csv.writer(stack.enter_context(file), lineterminator="\n")
        table.writerow(reader.header("time"))
        write = stack.enter_context(_annotated(out / COPY)) if copy else None
        bar = stack.enter_context(tqdm(unit="frame", file=sys.stderr))
        while batch:
            found = reader([pixels for _, pixels in batch])
            for (time, pixels), (faces, probabilities) in zip(batch, found, strict=True):
                numbers = followed.numbers(faces)
                table.writerows(reader.rows(f"{time:.3f}", numbers, faces, probabilities))
                times.append(time)
                for number, p in zip(numbers, probabilities, strict=True):
                    seen[number][time] = p
                if write:
                    said = [reader.reading(p) for p in probabilities]
                    texts = [(f"{n}: {text}", sure) for n, (text, sure) in zip(numbers, said, strict=True)]
                    write(time, np.asarray(annotate(pixels, faces, texts)))
                counts["frames without a face"] += not faces
            file.flush()
            bar.update(len(batch))
            batch = []
            try:
                for each in islice(frames, BATCH):
                    batch.append(each)
            except InputError as error:  # `batch` has what came before
                bar.write(printable(f"{error}; what was read is kept"), file=sys.stderr)
    with atomic_write(out / TIMELINE) as picture:
        timeline(times, seen, reader.description.classes).savefig(picture, dpi=120)
    return counts + Counter(frames=len(times), faces=followed.count)


@contextmanager
def _annotated(path: Path) -> Iterator[Callable[[float, np.ndarray], None]]:
    """What adds a frame, uint8 [H, W, 3], at a time in seconds to an H.264 file."""
    import av

    with atomic_write(path) as partial, av.open(str(partial), "w") as clip:
        stream = clip.add_stream("libx264", rate=25)  # nominal: each frame has a time of its own
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", TICK

        def write(time: float, pixels: np.ndarray) -> None:
            if not stream.codec_context.is_open:
                stream.height, stream.width = (side // 2 * 2 for side in pixels.shape[:2])
            frame = av.VideoFrame.from_ndarray(pixels).reformat(stream.width, stream.height, "yuv420p")
            frame.pts, frame.time_base = round(time / TICK), TICK
            clip.mux(stream.encode(frame))

        yield write
        clip.mux(stream.encode(None))


def timeline(
    times: Sequence[float], seen: Mapping[int, Mapping[float, np.ndarray]], classes: Sequence[str]
) -> Figure:
    """Each class's probability over the sampled `times`, a panel a face (the `SHOWN` longest seen); broken
    where the face was not seen."""
    longest = sorted(sorted(seen, key=lambda number: -len(seen[number]))[:SHOWN])
    figure = Figure(figsize=(9, 1 + 1.8 * max(1, len(longest))), layout="constrained")
    panels = figure.subplots(max(1, len(longest)), sharex=True, squeeze=False)[:, 0]
    for panel, number in zip(panels, longest, strict=False):
        nothing = np.full(len(classes), np.nan)
        lines = panel.plot(times, [seen[number].get(time, nothing) for time in times], ".-", lw=1.5)
        panel.set(ylim=(-0.02, 1.02), ylabel=f"face {number}")
    if longest:
        figure.legend(lines, classes, loc="outside upper center", ncols=len(classes), frameon=False)
    panels[-1].set_xlabel("seconds")
    return figure
