"""The resampler equals MATLAB's imresize."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from predella.image.resize import resize

# imresize(row, [1 n]) of row = 0 10 20 80 160 40 30 250 90 70 110 5, bicubic with antialiasing, before rounding
ROW = [0.0, 10, 20, 80, 160, 40, 30, 250, 90, 70, 110, 5]


def matlab(row, n):
    """An independent loop over MATLAB's published definition: u = x / s + (1 - 1 / s) / 2, kernel h(x) = s · cubic(s x)."""

    def cubic(x):
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    old, s = len(row), n / len(row)
    shrink = min(1.0, s)
    out = []
    for x in range(1, n + 1):
        u = x / s + 0.5 * (1 - 1 / s)
        reach = math.ceil(4 / shrink) + 2
        left = math.floor(u - 2 / shrink)
        total = norm = 0.0
        for i in range(left, left + reach):
            w = shrink * cubic(shrink * (u - i))
            mirror = list(range(1, old + 1)) + list(range(old, 0, -1))
            total += w * row[mirror[(i - 1) % (2 * old)] - 1]
            norm += w
        out.append(total / norm)
    return out


TABLE = {  # stored once from the loop above, so that both can't drift together
    6: [1.328125, 60.859375, 88.515625, 125.8203125, 108.3984375, 47.578125],
    4: [14.5679012346, 86.9135802469, 124.2592592593, 62.5925925926],
    3: [28.92578125, 108.2568359375, 79.0673828125],
    24: [
        -0.9375,
        1.796875,
        7.265625,
        11.328125,
        13.984375,
        31.015625,
        62.421875,
        103.28125,
        153.59375,
        141.484375,
        66.953125,
        24.375,
        13.75,
        77.734375,
        216.328125,
        233.4375,
        129.0625,
        73.75,
        67.5,
        79.1796875,
        108.7890625,
        91.484375,
        27.265625,
        -4.84375,
    ],
    7: [1.4435879467, 31.9917619755, 122.2855158772, 49.2402661094, 171.5559436881, 83.6634118803, 43.3881208724],
}


@pytest.mark.parametrize("n", TABLE)
def test_equals_the_stored_table(n):
    got = resize(torch.tensor(ROW).view(1, 1, 1, -1), (1, n)).flatten()
    assert torch.allclose(got, torch.tensor(TABLE[n]), atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(old=st.integers(2, 17), new=st.integers(1, 40), seed=st.integers(0, 99))
def test_equals_matlabs_definition_at_any_ratio(old, new, seed):
    row = np.random.default_rng(seed).uniform(-1, 1, old)
    got = resize(torch.tensor(row).view(1, 1, old, 1), (new, 1)).flatten()
    assert np.allclose(got, matlab(list(row), new), atol=1e-10)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_equals_torch_away_from_the_border(scale):
    x = torch.rand(1, 3, 48, 72, dtype=torch.float64)
    size = (48 // scale, 72 // scale)
    ours, theirs = resize(x, size), F.interpolate(x, size, mode="bicubic", antialias=True)
    assert (ours - theirs)[..., 3:-3, 3:-3].abs().max() < 1e-12


def test_each_axis_has_its_own_ratio_and_gradients_flow():
    x = torch.rand(1, 1, 6, 5, requires_grad=True)
    assert resize(x, (15, 5)).shape == (1, 1, 15, 5)
    assert torch.autograd.gradcheck(lambda v: resize(v, (4, 7)), (x,))


def test_a_constant_stays_and_the_same_size_is_the_same_tensor():
    x = torch.full((1, 1, 9, 7), 0.3)
    assert torch.allclose(resize(x, (4, 23)), torch.tensor(0.3))
    assert resize(x, (9, 7)) is x


@pytest.mark.parametrize("size", [(0, 3), (3, -1)])
def test_refuses_empty_sizes(size):
    with pytest.raises(ValueError, match="at least 1×1"):
        resize(torch.rand(1, 1, 4, 4), size)


def test_refuses_unknown_kernels():
    with pytest.raises(ValueError, match="'lanczos9'"):
        resize(torch.rand(1, 1, 4, 4), (2, 2), kernel="lanczos9")


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
def test_a_region_is_a_part_of_the_whole(kernel):
    x = torch.rand(2, 12, 20, dtype=torch.float64)
    whole = resize(x, (18, 10), kernel)  # the rows enlarged, the columns shrunk
    torch.testing.assert_close(resize(x, (6, 4), kernel, (-1, -0.2, -1 / 3, 0.6)), whole[:, :6, 4:8])
    assert resize(x, (12, 20), kernel) is x
    shifted = resize(x, (11, 20), kernel, (-1 + 1 / 24, -1, 1 - 3 / 24, 1))  # from a quarter of a pixel on, a pixel less
    assert shifted.shape == (2, 11, 20) and not torch.allclose(shifted, x[:, :11])
    for region, says in (((0, 0, 0, 1), "top < bottom and left < right"), ((-1.5, 0, 0, 1), "-1.5")):
        with pytest.raises(ValueError, match=says):
            resize(x, (4, 4), kernel, region)


def test_what_one_resizing_keeps_serves_gradients():
    with torch.inference_mode():
        resize(torch.rand(1, 3, 23, 31), (11, 7))
    x = torch.rand(1, 3, 23, 31, requires_grad=True)
    resize(x, (11, 7)).sum().backward()
    assert x.grad is not None and x.grad.sum() == pytest.approx(3 * 11 * 7)  # rows of weights sum to 1
