"""A trained reversible run against a VAE with as many parameters that sees as many images: distances and reconstructions.

    python -m benchmarks.reversible_faces RUN --data FACES --part 9000,10000 [--weights DIR] [--record FILE]

The VAE trains on the pictures the run trained on, for as many images as the run saw, with the run's batch size; both are measured
on the pictures of --part, which neither saw.
"""

import json
import time
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import torch
from sklearn.mixture import GaussianMixture as FittedMixture
from torch import Tensor

from benchmarks.vae import VAE, of_size
from predella.card import START
from predella.data.batches import Batches
from predella.metrics import generation
from predella.metrics.features import load_features
from predella.models.base import load
from predella.models.reversible import COMPONENTS, ReversibleConfig
from predella.nn.gaussian import GaussianMixture
from predella.protocols import FACES
from predella.recipe import Recipe, read_recipe
from predella.train.ema import EMA
from predella.train.log import append_row, environment


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.reversible_faces")
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--part", default="9000,10000")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="of the VAE (default: as many images as the run saw)")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    recipe = read_recipe((options.run / "recipe.json").read_text())
    first, last = (int(p) for p in options.part.split(","))
    if not recipe.data.part or first < recipe.data.part[1]:
        parser.error(f"the run trained on pictures {recipe.data.part or 'all'}; --part must come after them")
    images = replace(recipe.data, paths=(options.data,), part=(first, last)).open()
    features = load_features(FACES, options.weights)
    network = load(options.run)
    parameters = sum(p.numel() for p in network.parameters())
    seen = images_seen(options.run)
    start = time.monotonic()
    vae, steps = train(recipe, parameters, seen, options.seed, options.steps)
    minutes = (time.monotonic() - start) / 60
    generator = torch.Generator().manual_seed(options.seed)

    def restricted(x: Tensor) -> Tensor:
        return vae.decode(vae.encode(x)[0]).clamp(-1, 1)

    rows = [r for r in generation.reconstruction(images, restricted, restricted) if r["ask"] != "full latent"]
    draws = {"samples (prior)": lambda n: vae.sample(n, generator)}
    for name, density in densities(vae, recipe).items():
        draws[f"samples ({name})"] = lambda n, d=density: vae.decode(d.sample(n, generator)).clamp(-1, 1)
    rows += generation.distances(generation.batches(images), draws, features, FACES)
    about = environment(f"python -m benchmarks.reversible_faces {options.run.name} --data {Path(options.data).name} --part {options.part}")
    made = {k: v for k, v in about.items() if k in ("predella", "commit", "command", "hardware", "torch")}
    name = f"VAE ({sum(p.numel() for p in vae.parameters()) / 1e6:.2f} M, as {options.run.name})"
    for row in rows:
        trained = {"seed": options.seed, "steps": steps, "minutes": round(minutes, 1)}
        full = {"run": name, "set": Path(options.data).stem, **row, **made, **trained}
        print(f"{row['ask']:>18} {row['measure']:>28} {row['value']:.4f}", flush=True)
        if options.record:
            append_row(options.record, full)
    if options.json:
        print(json.dumps({f"{r['ask']} {r['measure']}": round(r["value"], 4) for r in rows}))


@torch.no_grad()
def densities(vae: VAE, recipe: Recipe) -> dict[str, GaussianMixture]:
    """The ex-post densities that the reversible network has too, fitted to posterior means (Ghosh et al. 2020)."""
    code = torch.cat([vae.encode(x)[0] for x in generation.batches(recipe.data.open())]).double()
    out = {}
    for name, components in (("gaussian", 1), ("mixture", COMPONENTS)):
        fitted = FittedMixture(components, covariance_type="full", reg_covar=1e-4, random_state=0).fit(code.numpy())
        out[name] = GaussianMixture(components, vae.dims)
        out[name].set_(*(torch.from_numpy(a) for a in (fitted.weights_, fitted.means_, fitted.covariances_)))
    return out


def images_seen(run: Path) -> int:
    """By the run, and by the runs it started from."""
    own = sum(s.steps * s.batch_size for s in read_recipe((run / "recipe.json").read_text()).stages)
    return own + (images_seen(run / START) if (run / START).is_dir() else 0)


def train(recipe: Recipe, parameters: int, seen: int, seed: int, steps: int | None) -> tuple[VAE, int]:
    """A VAE of about that many parameters, after about that many images."""
    assert isinstance(recipe.model, ReversibleConfig)
    torch.manual_seed(seed)
    batch_size = recipe.stages[0].batch_size
    steps = steps or seen // batch_size
    dims = getattr(recipe.model.prior, "dims", 64)
    vae = of_size(parameters, recipe.model.channels, recipe.model.size, dims)
    count = sum(p.numel() for p in vae.parameters())
    print(f"VAE of {count:,} parameters ({parameters:,} asked), {steps} steps of {batch_size}", flush=True)
    ema = EMA(vae, recipe.ema)
    optimizer = torch.optim.Adam(vae.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    stream = Batches(recipe.data.open(), recipe.task, batch_size, recipe.augment, seed).since(0)
    start = time.monotonic()
    for step in range(steps):
        loss = vae.loss(next(stream).target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        ema.update(step)
        if (step + 1) % 500 == 0:
            left = (time.monotonic() - start) / (step + 1) * (steps - step - 1) / 60
            print(f"step {step + 1}/{steps} · -elbo={loss.item():.4f} nats a value · {left:.0f} min left", flush=True)
    vae.load_state_dict(ema.shadow)
    return vae.eval(), steps


if __name__ == "__main__":
    main()
