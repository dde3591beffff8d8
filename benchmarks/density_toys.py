"""Why coverage and quality: eight Gaussians on a ring, and a flow too small for them, trained by likelihood, by an adversary, by both.

    python -m benchmarks.density_toys [--figure docs/density_toys.png]

The likelihood does not care where mass goes that no data ask for, the adversary not what it leaves out. Keys, with `coverage`, `quality`,
`both` in place of ROW, medians over seeds: `nats_ROW`, minus the mean log density of unseen points, which is large where data are left
out; `modes_ROW`, how many of the eight get at least half of their share of samples; `off_ROW`, share of samples farther than four
deviations from all; `integral_ROW`, of the density over the plane, the one farthest from 1.
"""

import math
import statistics

import torch
from torch import Tensor, nn

from benchmarks.timing import parser_of, report
from predella.losses.adversarial import LOG_RATIO
from predella.losses.likelihood import gaussian_log_density
from predella.nn.bijections import AffineCoupling, Chain

MODES, RADIUS, DEVIATION = 8, 2.0, 0.12
STEPS, BATCH, WIDTH, COUPLINGS, LR = 3000, 256, 32, 3, 2e-3
ROWS = {"coverage": (1.0, 0.0), "quality": (0.0, 1.0), "both": (1.0, 1.0)}
EXTENT, GRID = 4.0, 400


def ring(count: int, generator: torch.Generator) -> Tensor:
    """(count, 2)."""
    angle = torch.randint(MODES, (count,), generator=generator) * (2 * math.pi / MODES)
    return centres(angle) + DEVIATION * torch.randn(count, 2, generator=generator)


def centres(angle: Tensor) -> Tensor:
    return RADIUS * torch.stack([angle.cos(), angle.sin()], 1)


def flow() -> Chain:
    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(1, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))

    return Chain(*[AffineCoupling(net(), net()) for _ in range(COUPLINGS)])


def log_density(model: Chain, x: Tensor) -> Tensor:
    y, ladj = model(x)
    return gaussian_log_density(y, torch.zeros_like(y), torch.zeros_like(y)) + ladj


def train(coverage: float, quality: float, seed: int = 0, steps: int = STEPS) -> Chain:
    """A flow by L_C and L_Q with these weights; the rates stay for half of the steps and fall to 0 along a cosine."""
    torch.manual_seed(seed)
    model, generator = flow(), torch.Generator().manual_seed(seed + 1)
    layers = [nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)]
    critic = nn.Sequential(*layers)
    of_model, of_critic = (torch.optim.Adam(m.parameters(), LR, betas=(0.5, 0.99)) for m in (model, critic))
    fall = lambda step: 0.5 * (1 + math.cos(math.pi * max(0.0, 2 * step / steps - 1)))  # noqa: E731
    rates = [torch.optim.lr_scheduler.LambdaLR(o, fall) for o in ((of_model, of_critic) if quality else (of_model,))]
    for _ in range(steps):
        x, z = ring(BATCH, generator), torch.randn(BATCH, 2, generator=generator)
        if quality:
            fake = model.inverse(z)[0].detach()
            of_critic.zero_grad()
            (LOG_RATIO.real(critic(x)) + LOG_RATIO.fake(critic(fake))).backward()
            of_critic.step()
        of_model.zero_grad()
        loss = torch.zeros(())
        if coverage:
            loss = loss - coverage * log_density(model, x).mean()
        if quality:
            loss = loss + quality * LOG_RATIO.generator(critic(model.inverse(z)[0]))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        of_model.step()
        for rate in rates:
            rate.step()
    return model


@torch.no_grad()
def measure(model: Chain) -> dict[str, float]:
    generator = torch.Generator().manual_seed(2)
    unseen, samples = ring(4000, generator), model.inverse(torch.randn(4000, 2, generator=generator))[0]
    away = torch.cdist(samples, centres(torch.arange(MODES) * (2 * math.pi / MODES)))
    near = away.argmin(1)[away.amin(1) < 4 * DEVIATION]
    shares = torch.bincount(near, minlength=MODES) / len(samples)
    return {
        "nats": -log_density(model, unseen).mean().item(),
        "modes": float((shares >= 0.5 / MODES).sum()),
        "off": 1 - len(near) / len(samples),
        "integral": integral(model),
    }


@torch.no_grad()
def integral(model: Chain, extent: float = 8.0, cells: int = 800, finest: int = 6400, near: float = 2e-4) -> float:
    """Of the density over a square, by the midpoint rule in float64, on a grid refined until two agree to `near`.

    An adversary leaves densities so steep that coarse grids miss them.
    """
    model = model.double()
    before = math.inf
    while True:
        side, total = 2 * extent / cells, 0.0
        at = (torch.arange(cells, dtype=torch.float64) + 0.5) * side - extent
        for row in at.split(max(1, 80_000 // cells)):
            total += log_density(model, torch.cartesian_prod(row, at)).exp().sum().item() * side**2
        if abs(total - before) < near or 2 * cells > finest:
            model.float()
            return total
        before, cells = total, 2 * cells


def figure(models: dict[str, Chain], path: str) -> None:
    """Densities (upper row) and samples (lower row), data first."""
    from predella.apps.sheet import sheet
    from predella.image.files import Picture, write

    generator = torch.Generator().manual_seed(3)
    at = torch.linspace(-EXTENT, EXTENT, GRID)
    grid = torch.cartesian_prod(at, at)
    angle = torch.arange(MODES) * (2 * math.pi / MODES)
    truth = torch.stack(
        [gaussian_log_density(grid, c.expand_as(grid), torch.tensor(DEVIATION).log().expand_as(grid)) for c in centres(angle)]
    )
    maps = [truth.exp().mean(0)] + [log_density(m, grid).detach().exp() for m in models.values()]
    points = [ring(1500, generator)] + [m.inverse(torch.randn(1500, 2, generator=generator))[0].detach() for m in models.values()]
    upper = torch.stack([(1 - 2 * (v / maps[0].max()).clamp(max=1).sqrt()).view(1, GRID, GRID) for v in maps])
    lower = torch.ones(len(points), 1, GRID, GRID)
    for i, p in enumerate(points):
        cell = ((p + EXTENT) / (2 * EXTENT) * GRID).long()
        inside = ((cell >= 0) & (cell < GRID)).all(1)
        lower[i, 0, cell[inside, 0], cell[inside, 1]] = -1
    lower = -nn.functional.max_pool2d(-lower, 3, 1, 1)
    write(Picture(sheet([upper, lower])), path, force=True)


def main() -> None:
    parser = parser_of("density_toys")
    parser.add_argument("--figure", help="also write this picture: densities above samples, of the data, coverage, quality, both")
    parser.add_argument("--seeds", type=int, default=3, help="(default: 3)")
    options, figures, models = parser.parse_args(), {}, {}
    for name, weights in ROWS.items():
        trained = [train(*weights, seed) for seed in range(options.seeds)]
        found = [measure(model) for model in trained]
        for one in found:
            print(name, {k: round(v, 4) for k, v in one.items()}, flush=True)
        figures |= {f"{k}_{name}": statistics.median(one[k] for one in found) for k in found[0]}
        figures[f"integral_{name}"] = max((one["integral"] for one in found), key=lambda v: abs(v - 1))
        models[name] = trained[0]
    if options.figure:
        figure(models, options.figure)
    report(options, figures, [f"{options.seeds} seeds, {STEPS} steps of {BATCH}, a flow of {COUPLINGS} couplings of {WIDTH}"])


if __name__ == "__main__":
    main()
