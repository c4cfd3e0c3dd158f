"""The batched views: shapes, ranges, determinism, and randomness per sample."""

import pytest
import torch
from tiny import strong_options, weak_options

from asm.parts import views


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def faces():
    return torch.randint(0, 256, (16, 40, 40, 3), dtype=torch.uint8, generator=generator(1))


def test_grey_is_repeated_over_three_channels():
    grey = torch.randint(0, 256, (4, 8, 8, 1), dtype=torch.uint8, generator=generator())
    x = views.to_float(grey)
    assert x.shape == (4, 3, 8, 8)
    assert torch.equal(x[:, 0], x[:, 2])


def test_evaluation_view_normalises_with_the_stated_statistics():
    white = torch.full((1, 4, 4, 3), 255, dtype=torch.uint8)
    expected = [(1 - m) / s for m, s in zip(views.MEAN, views.STD, strict=True)]
    assert views.evaluation_view(white)[0, :, 0, 0].tolist() == pytest.approx(expected)


def test_views_are_channels_last_and_reproducible(faces):
    for view, options in ((views.weak_view, weak_options()), (views.strong_view, strong_options())):
        first, second = (view(faces, options, generator(3)) for _ in range(2))
        assert first.shape == (16, 3, 40, 40)
        assert first.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(first, second)
        assert not torch.equal(first, view(faces, options, generator(4)))


def test_flip_is_all_none_or_per_sample(faces):
    plain = views.evaluation_view(faces)
    never = views.weak_view(faces, weak_options(flip=0, erasing=0), generator())
    always = views.weak_view(faces, weak_options(flip=1, erasing=0), generator())
    torch.testing.assert_close(never, plain)
    torch.testing.assert_close(always, plain.flip(3))
    mixed = views.weak_view(faces, weak_options(flip=0.5, erasing=0), generator())
    flipped = [not torch.equal(a, b) for a, b in zip(mixed, plain, strict=True)]
    assert 0 < sum(flipped) < 16
    for row in torch.tensor(flipped).nonzero().flatten():
        torch.testing.assert_close(mixed[row], plain[row].flip(2))


def test_erasing_sets_one_rectangle_of_the_stated_area(faces):
    faces = faces.clamp(min=200)  # far from the mean colour, so that 0 occurs only where erased
    erased = views.weak_view(faces, weak_options(flip=0, erasing=1, erasing_area=[0.1, 0.2]), generator())
    corners, ratios = set(), []
    for image in erased:
        zero = (image == 0).all(0)
        rows, columns = zero.any(1).nonzero().flatten(), zero.any(0).nonzero().flatten()
        box = zero[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.all()
        assert 0.08 < zero.float().mean() < 0.23  # whole pixels, and sides cut at the image's
        corners.add((int(rows[0]), int(columns[0])))
        ratios.append(len(rows) / len(columns))
    assert len(corners) > 8  # each sample draws its own
    assert min(ratios) < 0.6
    assert max(ratios) > 1.6
    assert all(0.25 < ratio < 4 for ratio in ratios)  # 0.3 to 3.3, in whole pixels


def test_the_same_image_gets_different_strong_views_in_one_batch(faces):
    repeated = faces[:1].expand(16, -1, -1, -1)
    drawn = views.strong_view(repeated, strong_options(probability=1.0), generator())
    assert len({tuple(v.flatten()[::97].tolist()) for v in drawn}) == 16


def test_without_operations_the_strong_view_is_a_shift_a_flip_and_the_cutout():
    grey = torch.full((8, 56, 56, 3), 200, dtype=torch.uint8)
    x = views.strong_view(grey, strong_options(operations=0, cutout=0.25), generator())
    back = x * torch.tensor(views.STD).view(3, 1, 1) + torch.tensor(views.MEAN).view(3, 1, 1)
    cut = (back - 0.5).abs() < 1e-5
    assert (cut.float().mean(dim=(1, 2, 3)) == 0.25**2).all()
    torch.testing.assert_close(back[~cut], torch.full_like(back[~cut], 200 / 255))


def test_no_image_gives_no_view(faces):
    assert views.strong_view(faces[:0], strong_options(), generator()).shape == (0, 3, 40, 40)


def test_zero_cutout_erases_nothing():
    white = torch.full((4, 40, 40, 3), 255, dtype=torch.uint8)
    x = views.strong_view(white, strong_options(operations=0, cutout=0.0), generator())
    torch.testing.assert_close(x, views.evaluation_view(white))


def test_the_options_of_the_strong_view_are_honoured(faces):
    """Nothing is done at probability 0, more at a larger magnitude, and in both directions."""

    def drawn(images=faces, **options):
        options = {"operations": 1, "cutout": 0.0, **options}  # as many draws, so that flips and crops agree
        return views.strong_view(images, strong_options(**options), generator(2))

    untouched = drawn(probability=0.0)
    assert torch.equal(drawn(probability=0.0, magnitude=0.0), untouched)
    moved = [(drawn(probability=1.0, magnitude=m) - untouched).abs().mean() for m in (3, 10, 30)]
    assert moved[0] < moved[1] < moved[2]
    changed = [(drawn(probability=p) != untouched).flatten(1).any(1).sum() for p in (0.2, 1.0)]
    assert 0 < changed[0] < 8 < changed[1]
    grey = torch.full((64, 40, 40, 3), 100, dtype=torch.uint8)
    x = drawn(grey, probability=1.0, magnitude=10)[:, 0, 20, 20] * views.STD[0] + views.MEAN[0]
    for brighter in (1.3, 0.7):  # the sign is drawn
        assert ((x - 100 / 255 * brighter).abs() < 1e-4).any()


@pytest.mark.parametrize("operation", views.PHOTOMETRIC)
def test_photometric_operations_keep_shape_and_range_and_see_one_image_at_a_time(operation, faces):
    shades = torch.arange(1, 17).view(16, 1, 1, 1) / 16
    x = views.to_float(faces) * shades  # each image has its own range and mean
    for sign in (-1.0, 1.0):
        v = torch.full((16, 1, 1, 1), sign)
        y = operation(x, v)
        assert y.shape == x.shape
        assert y.min() >= 0
        assert y.max() <= 1
        torch.testing.assert_close(y[3:4], operation(x[3:4], v[3:4]))


def test_photometric_values_by_hand():
    x = torch.tensor([0.2, 0.4, 0.9]).view(1, 1, 1, 3).expand(1, 3, 2, 3)
    v = torch.full((1, 1, 1, 1), 0.5)
    named = {f.__name__.strip("_"): f(x, v)[0, 0, 0].tolist() for f in views.PHOTOMETRIC}
    smooth = [3.2 / 13, 6.1 / 13, 10.2 / 13]  # weights 3, 7, 3 of the columns left, here and right
    expected = {
        "identity": [0.2, 0.4, 0.9],
        "brightness": [0.29, 0.58, 1.0],  # x 1.45, clipped
        "solarize": [0.2, 0.4, 0.1],  # above .5 inverted
        "autocontrast": [0.0, 2 / 7, 1.0],
        "posterize": [48 / 255, 100 / 255, 228 / 255],  # 51, 102, 229 to fours
        "color": [0.2, 0.4, 0.9],  # grey pixels have no colour to change
        "equalize": [0.0, 0.5, 1.0],  # ranks of three equal shares
        "contrast": [0.065, 0.355, 1.0],  # 0.5 + (x - 0.5) 1.45, clipped
        "sharpness": [s + (a - s) * 1.45 for s, a in zip(smooth, (0.2, 0.4, 0.9), strict=True)],
    }
    assert set(named) == set(expected)
    for name, values in expected.items():
        assert named[name] == pytest.approx(values, abs=1e-6), name


def test_geometric_operations_move_pixels_as_named():
    x = torch.zeros(1, 3, 41, 41)
    x[..., 20, 30] = 1.0  # right of the centre
    moved = {}
    for code, operation in enumerate(views.GEOMETRIC):
        matrix = views._matrices(torch.full((1, 1), code), torch.full((1, 1), 0.5))
        y = views._resample(x, matrix)[0, 0]
        moved[operation.__name__.strip("_")] = divmod(int(y.argmax()), 41)
    assert moved["translate_x"] == (20, 30 - round(0.45 * 41 / 2))
    assert moved["translate_y"][0] == 20 - round(0.45 * 41 / 2)
    assert moved["shear_x"] == (20, 30)  # on the axis nothing moves
    assert moved["shear_y"][1] == 30
    assert moved["shear_y"][0] != 20
    assert moved["rotate"] == (20 - round(10 * 0.2588), 20 + round(10 * 0.9659))  # 15 degrees


def test_geometric_operations_of_one_sample_are_composed():
    codes, strength = torch.tensor([[0, 3], [4, -1]]), torch.tensor([[0.5, 0.4], [0.3, 0.9]])
    shear, turn = (views._matrices(codes[k : k + 1, :1], strength[k : k + 1, :1])[0] for k in (0, 1))
    both, moved = views._matrices(codes, strength)
    torch.testing.assert_close(both, shear[:, :2] @ turn)
    assert moved.tolist() == views._matrices(codes[:1, 1:], strength[:1, 1:])[0].tolist()  # -1: none


def test_without_operations_the_strong_view_is_a_crop_of_the_reflected_image():
    """Every pixel comes from at most one pixel away (4 of 224 is 1 of 56), over the border by reflection."""
    size, at = 56, torch.arange(56)
    faces = torch.stack(
        [at[:, None] * 4 + 0 * at, at + 0 * at[:, None], 0 * at + 7 * at[:, None] % 256], dim=2
    )
    faces = faces.to(torch.uint8).expand(64, -1, -1, -1)
    x = views.strong_view(faces, strong_options(operations=0, cutout=0.0), generator())
    std, mean = (torch.tensor(v).view(3, 1, 1) for v in (views.STD, views.MEAN))
    back = ((x * std + mean) * 255).round().long()
    reflected = [(at + by).abs().where(at + by < size, 2 * size - 2 - at - by) for by in (-1, 0, 1)]
    expected = {
        (dy, dx, flip): faces[0].long()[reflected[dy]][:, (size - 1 - at if flip else at)][:, reflected[dx]]
        for dy in range(3)
        for dx in range(3)
        for flip in (False, True)
    }
    found = [key for image in back for key, e in expected.items() if torch.equal(image, e.permute(2, 0, 1))]
    assert len(found) == 64
    assert len(set(found)) == 18  # 64 draws: every one of them occurs


def test_resampling_is_torchs():
    x = torch.rand(3, 3, 20, 20, generator=generator())
    matrices = torch.randn(3, 2, 3, generator=generator(1))
    grid = torch.nn.functional.affine_grid(matrices, [3, 3, 20, 20], align_corners=False)
    expected = torch.nn.functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    torch.testing.assert_close(views._resample(x, matrices), expected, atol=1e-4, rtol=1e-4)


def test_the_faces_themselves_are_left_alone(faces):
    before = faces.clone()
    views.weak_view(faces, weak_options(flip=1, erasing=1, jitter=1, gaussian_noise=0), generator())
    views.strong_view(faces, strong_options(probability=1), generator())
    whole = views.evaluation_view(faces)
    kept = whole.clone()
    views.erase(whole, weak_options(erasing=1), generator())
    assert torch.equal(faces, before)
    assert torch.equal(whole, kept)


def test_noise_takes_the_place_of_a_flip(faces):
    plain = views.evaluation_view(faces)
    noisy = views.weak_view(faces, weak_options(flip=0, gaussian_noise=1, erasing=0), generator())
    std = torch.tensor(views.STD).view(1, 3, 1, 1)
    pixels = ((noisy - plain) * std * 255)[(faces > 30).all(-1).unsqueeze(1).expand(-1, 3, -1, -1)]
    assert 4 < pixels.std() < 6  # sqrt(30) = 5.48, a little less where it is clipped
    mixed = views.weak_view(faces, weak_options(flip=0.5, gaussian_noise=0.5, erasing=0), generator())
    flipped = [torch.equal(m, p.flip(2)) for m, p in zip(mixed, plain, strict=True)]
    changed = [not torch.equal(m, p) for m, p in zip(mixed, plain, strict=True)]
    assert all(changed)  # every sample has one of the two
    assert 0 < sum(flipped) < len(flipped)


def test_jitter_changes_the_chosen_samples_alone_and_each_in_its_own_way(faces):
    plain = views.evaluation_view(faces)
    assert torch.equal(views.weak_view(faces, weak_options(flip=0, jitter=0, erasing=0), generator()), plain)
    repeated = faces[:1].expand(8, -1, -1, -1)
    drawn = views.weak_view(repeated, weak_options(flip=0, jitter=1, erasing=0), generator())
    assert len({v.sum().item() for v in drawn}) == 8
    assert drawn.isfinite().all()


def test_jitter_moves_by_a_tenth_at_most_and_enlarges_up_to_a_quarter():
    """By the place and the area of a grey disc, in 200 draws."""
    at = torch.arange(80) - 39.5
    disc = (at[:, None] ** 2 + at**2 < 15**2).view(1, 80, 80, 1).expand(200, -1, -1, 3)
    x = views.weak_view((disc * 120).to(torch.uint8), weak_options(flip=0, jitter=1, erasing=0), generator())
    bright = (x > x.amax((1, 2, 3), keepdim=True) / 2 + x.amin((1, 2, 3), keepdim=True) / 2)[:, 0].float()
    area = bright.sum((1, 2)) / disc[0, ..., 0].sum()
    assert 0.95 < area.min() < 1.1
    assert 1.4 < area.max() < 1.65  # 1.25 squared
    for axis in (1, 2):
        centre = (bright.sum(axis) * at).sum(1) / bright.sum((1, 2))
        assert centre.abs().max() < 10.5  # 0.1 of 80 pixels, enlarged
        assert centre.min() < -6
        assert centre.max() > 6
