import numpy as np
import pytest
from facenet_pytorch import MTCNN
from PIL import Image

from asm.faces.detection import PARTS, FaceDetector, _choose, _Frame


@pytest.fixture(scope="module")
def detector():
    return FaceDetector(batch_size=4)


def resize(image, side):
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def eye_distance(landmarks):
    return float(np.linalg.norm(landmarks[0] - landmarks[1]))


def test_finds_rendered_faces_near_their_true_landmarks(detector, rendered):
    found = detector.detect(list(rendered.images))
    assert all(found)
    for face, truth in zip(found, rendered.landmarks, strict=True):
        error = np.linalg.norm(face.landmarks - truth, axis=1).mean()
        assert error < 0.2 * eye_distance(truth)
        assert face.landmarks.dtype == face.box.dtype == np.float32
        assert face.probability > 0.7


def test_equals_plain_mtcnn(rendered):
    """The reduced, batched search against facenet-pytorch's own, one image at a time."""
    images = [resize(image, 224) for image in rendered.images[:6]]
    plain = MTCNN().double()
    for image, face in zip(images, FaceDetector(3, batch_size=6).detect(images), strict=True):
        boxes, _, points = plain.detect(image, landmarks=True)
        assert len(boxes) == 1  # else the choice of the face is compared, too
        for found, expected in ((face.landmarks, points[0]), (face.box, boxes[0])):
            assert np.abs(found - np.asarray(expected, float)).max() <= 0.5 / PARTS + 1e-9
            assert np.array_equal(found * PARTS, np.rint(found * PARTS))
        assert not face.retried


def test_mixed_sizes_and_channels_in_one_call(detector, rendered):
    a, b = rendered.images[:2]
    rgba = np.dstack([b, np.full(b.shape[:2], 255, np.uint8)])
    grey = np.asarray(Image.fromarray(a).convert("L"))
    images = [a, resize(b, 180), grey, grey[..., None], rgba, a[:120]]
    found = detector.detect(images)
    assert all(found)
    alone = detector.detect([images[1]])[0]
    assert np.abs(found[1].landmarks - alone.landmarks).max() < 0.05
    assert np.array_equal(found[2].landmarks, found[3].landmarks)
    assert np.abs(found[4].landmarks - detector.detect([b])[0].landmarks).max() < 0.05


def test_no_face_and_tiny_images_give_none(detector):
    rng = np.random.default_rng(0)
    shapes = [(1, 1), (3, 5, 3), (1, 400), (12, 12), (19, 21, 3), (20, 20), (64, 64, 3), (3000, 10)]
    images = [np.full(shape, 90, np.uint8) for shape in shapes]
    images.append(rng.integers(0, 256, (80, 80, 3), dtype=np.uint8))
    assert detector.detect(images) == [None] * len(images)
    assert detector.detect([]) == []


def test_pad_and_upscale_map_back_to_the_source(rendered):
    small = [resize(image, 48) for image in rendered.images]
    found = FaceDetector(pad=0.25, upscale=2).detect(small)
    assert sum(face is not None for face in found) >= 11
    for face, truth in zip(found, rendered.landmarks, strict=True):
        if face is not None:
            truth_48 = (truth + 0.5) * 48 / 128 - 0.5
            assert np.linalg.norm(face.landmarks - truth_48, axis=1).mean() < 0.25 * eye_distance(truth_48)


def test_oversized_images_are_searched_shrunk(detector, rendered):
    large = resize(rendered.images[0], 2048)
    face = detector.detect([large])[0]
    truth = (rendered.landmarks[0] + 0.5) * 16 - 0.5
    assert np.linalg.norm(face.landmarks - truth, axis=1).mean() < 0.2 * eye_distance(truth)


def test_small_face_in_a_large_picture_is_found_on_the_retry(detector, rendered):
    picture = np.full((400, 400, 3), 128, np.uint8)
    picture[180:228, 200:248] = resize(rendered.images[0], 48)
    face = detector.detect([picture])[0]
    assert face.retried
    assert 180 < face.landmarks[2, 1] < 228
    assert 200 < face.landmarks[2, 0] < 248


def test_choice_prefers_large_and_central_faces():
    frame = _Frame(np.zeros((100, 100, 3), np.uint8), (2.0, 2.0), (3, 0))
    corner, centre, small = [0, 0, 40, 40], [30, 30, 70, 70], [45, 45, 55, 55]
    points = np.arange(30, dtype=np.float32).reshape(3, 5, 2)
    probabilities = np.array([0.99, 0.9, 1.0], np.float32)
    boxes = np.array([corner, centre, small], np.float32)
    face = _choose((boxes, probabilities, points), frame)
    assert face.probability == pytest.approx(0.9)
    # By hand: (30 + .5) / 2 - .5 - 3 and (30 + .5) / 2 - .5.
    assert face.box == pytest.approx([11.75, 14.75, 31.75, 34.75])
    assert face.landmarks[0] == pytest.approx([(10.5) / 2 - 3.5, 11.5 / 2 - 0.5])
    boxes[0] = [0, 0, 80, 80]  # twice as wide: now worth its place off the centre
    assert _choose((boxes, probabilities, points), frame).probability == pytest.approx(0.99)
    assert _choose(None, frame) is None


def test_one_image_that_trips_mtcnn_does_not_take_its_batch_along(detector, rendered, monkeypatch):
    """facenet-pytorch raises for a candidate box outside its image; which image it was is not told."""
    original = detector._mtcnn.detect

    def detect(batch, landmarks):
        if (batch[:, 0, 0, 0] == 255).any():
            raise IndexError("The shape of the mask does not match")
        return original(batch, landmarks=landmarks)

    monkeypatch.setattr(detector._mtcnn, "detect", detect)
    images = list(rendered.images[:3].copy())
    images[0][0, 0], images[1][0, 0], images[2][0, 0] = 0, 255, 0
    found = detector.detect(images)
    assert [face is None for face in found] == [False, True, False]

    def broken(batch, landmarks):
        raise RuntimeError("CUDA error: out of luck")

    monkeypatch.setattr(detector._mtcnn, "detect", broken)
    with pytest.raises(RuntimeError, match="out of luck"):
        detector.detect(images)


def test_scales_left_out_are_limited_by_the_image_size(detector):
    assert [detector._scales_left_out(side) for side in (24, 84, 85, 119, 120, 168, 169, 400)] == [
        0, 0, 1, 1, 2, 2, 3, 3,
    ]  # fmt: skip  # 3 * 20 / .709**k = 84.6, 119.4, 168.3


def test_refuses_nonsense_options():
    with pytest.raises(ValueError, match="upscale > 0"):
        FaceDetector(upscale=0)


@pytest.fixture(scope="module")
def three(rendered):
    """Three faces side by side on grey, and where each begins."""
    picture = np.full((160, 480, 3), 128, np.uint8)
    starts = [(10, 20), (20, 180), (0, 340)]
    for (top, left), image in zip(starts, rendered.images, strict=False):
        picture[top : top + 128, left : left + 128] = image
    return picture, starts


def test_every_face_of_a_picture(detector, rendered, three):
    picture, starts = three
    blank = np.full((90, 70), 100, np.uint8)
    found = detector.detect_all([blank, picture, rendered.images[0]])
    assert [len(faces) for faces in found] == [0, 3, 1]
    for face, (top, left), truth in zip(found[1], starts, rendered.landmarks, strict=False):
        error = np.linalg.norm(face.landmarks - truth - (left, top), axis=1).mean()
        assert error < 0.2 * eye_distance(truth)
    assert detector.detect_all([]) == []


def test_other_faces_are_counted(detector, rendered, three):
    alone, several = detector.detect([rendered.images[0], three[0]])
    assert (alone.others, several.others) == (0, 2)
