"""The contract, colours, coordinates and tiles."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from predella.image.color import studio_y
from predella.image.contract import check_image, from_uint8, quantize, to_uint8
from predella.image.coords import centres, grid
from predella.image.tiles import ramp, source_crop, spans, tiled


@pytest.mark.parametrize(
    "value, error, words",
    [
        (np.zeros(3), TypeError, "ndarray"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), TypeError, "from_uint8"),
        (torch.zeros(3, 4, 4), ValueError, r"\(B, C, H, W\)"),
        (torch.full((1, 3, 4, 4), 255.0), ValueError, r"\[-1, 1\].*255.*from_uint8"),
        (torch.full((1, 3, 4, 4), torch.nan), ValueError, "nan"),
        (torch.zeros(0, 3, 4, 4), ValueError, "empty"),
        (torch.zeros(1, 1, 4, 4), ValueError, "3 channels"),
    ],
)
def test_contract_says_value_and_remedy(value, error, words):
    with pytest.raises(error, match=words):
        check_image(value, channels=3)


def test_eight_bits_there_and_back():
    x = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(from_uint8(x)), x)
    assert torch.equal(to_uint8(quantize(from_uint8(x) + 0.003)), x)  # less than half a level away
    assert quantize(torch.tensor([3.0, -3.0])).tolist() == [1.0, -1.0]


def test_studio_y_of_known_colours():
    colours = torch.tensor([[1.0, 1, 1], [-1, -1, -1], [1, -1, -1]]).view(3, 3, 1, 1)
    assert torch.allclose(studio_y(colours).flatten(), torch.tensor([235.002, 16.0, 81.481]))
    assert torch.allclose(studio_y(torch.ones(1, 1, 1, 1)), torch.tensor(235.0))


def test_coordinates_are_cell_centres():
    assert centres(4, dtype=torch.float64).tolist() == [-0.75, -0.25, 0.25, 0.75]
    points = grid(2, 3, dtype=torch.float64)
    assert points.shape == (6, 2) and np.allclose(points[[0, -1]], [[-0.5, -2 / 3], [0.5, 2 / 3]])
    quarter = grid(1, 1, (0.0, 0.0, 1.0, 1.0), dtype=torch.float64)
    assert quarter.tolist() == [[0.5, 0.5]]


@settings(max_examples=50, deadline=None)
@given(length=st.integers(1, 200), tile=st.integers(2, 40), part=st.floats(0, 0.5))
def test_ramps_add_up_to_one(length, tile, part):
    blend = int(tile * part)
    total = torch.zeros(length)
    for start, stop in spans(length, tile, blend):
        total[start:stop] += ramp(start, stop, length, blend, torch.float64)
    assert torch.allclose(total, torch.ones(length))


@pytest.mark.parametrize("blend", [0, 5])
@pytest.mark.parametrize("size", [(60, 75), (47, 31), (120, 31)])
def test_tiles_equal_the_whole(size, blend):
    """Bilinear by hand from the crop alone: a halo of one pixel is enough, and none is too little."""
    source = torch.rand(1, 2, 40, 30)

    def sample(image, top, left, rows, columns):
        y, x = ((p.clamp(0, n - 1) - o).clamp(0) for p, n, o in ((rows, 40, top), (columns, 30, left)))
        lines = []
        for place, dim in ((y, 2), (x, 3)):
            low = place.floor().long().clamp(max=image.shape[dim] - 1)
            high = (low + 1).clamp(max=image.shape[dim] - 1)
            part = (place - low).view([-1 if d == dim else 1 for d in range(4)])
            image = image.index_select(dim, low) * (1 - part) + image.index_select(dim, high) * part
            lines.append(image)
        return image

    def positions(start, stop, axis):
        return (torch.arange(start, stop, dtype=torch.float64) + 0.5) * (source.shape[2 + axis] / size[axis]) - 0.5

    def paint(crop, piece):
        top, left, bottom, right = crop
        part = source[:, :, top:bottom, left:right]
        return sample(part, top, left, positions(piece[0], piece[2], 0), positions(piece[1], piece[3], 1))

    whole = sample(source, 0, 0, positions(0, size[0], 0), positions(0, size[1], 1))
    for halo, equal in ((1, True), (0, False)) if blend == 0 else ((1, True),):
        bands = list(tiled(paint, (40, 30), size, tile=17, halo=halo, blend=blend))
        assert [top for top, _ in bands] == [0, *np.cumsum([b.shape[2] for _, b in bands])[:-1].tolist()]
        assert torch.allclose(torch.cat([b for _, b in bands], 2), whole, atol=1e-12) == equal


def test_source_crop_covers_what_is_needed():
    assert source_crop((0, 10), 2.5, 100, 3, 1) == (0, 7)
    assert source_crop((100, 110), 2.5, 100, 3, 4) == (36, 48)
    with pytest.raises(ValueError, match="blend"):
        spans(10, 4, 3)
