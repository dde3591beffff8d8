"""Draw pictures from a trained model.

predella sample MODEL --count N --out PATH [--seed N] [--density prior|gaussian|mixture] [--labels 3,5]

PATH is a file for one sheet of all samples, or a folder for one file each. --density and --labels are for reversible networks; --mean
is for models of densities of pixels (coverage_quality): without the noise that stays when the latent is known.
"""

import json
import time
from pathlib import Path

from predella.cli.shared import add_common, add_zoom

LARGEST = 200_000_000  # pixels of a sheet


def add_arguments(parser) -> None:
    parser.add_argument("model", help="a shipped name or a run folder")
    parser.add_argument("--count", type=int, default=16, help="how many (default: 16)")
    parser.add_argument("--out", type=Path, required=True, help="a file for one sheet, or a folder")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same samples (default: 0)")
    parser.add_argument("--density", default="prior", help="prior, or the Gaussian or mixture fitted to the training images' codes")
    parser.add_argument("--labels", help="classes to draw in turn, such as 3,5, for models with classes")
    parser.add_argument("--mean", action="store_true", help="the mean of the pixels' density, for models that have one")
    add_zoom(parser)
    add_common(parser)


def run(options, rest) -> int:
    import torch

    from predella.cli.progress import progress
    from predella.cli.shared import check_outputs, check_seed, check_zoom, is_file, open_model, write_pictures
    from predella.errors import UserError
    from predella.models.coverage_quality import CoverageQuality

    if not 1 <= options.count <= 100_000:
        raise UserError(f"--count must lie in 1…100000, got {options.count}")
    check_seed(options.seed)
    check_zoom(options.zoom)
    width = max(4, len(str(options.count - 1)))
    paths = [options.out] if is_file(options.out) else [options.out / f"{i:0{width}}.png" for i in range(options.count)]
    check_outputs(paths, options.force)
    model = open_model(options.model, "sample", options.cpu)
    if is_file(options.out) and (pixels := options.count * (model.config.size * options.zoom) ** 2) > LARGEST:
        fewer = "a smaller --count or --zoom, or a folder"
        raise UserError(f"{options.out} would have {pixels:,} pixels, more than the {LARGEST:,} of a sheet; ask for {fewer}")
    start = time.monotonic()
    batches = _of_density(model, options) if isinstance(model, CoverageQuality) else _draw(model, options)
    drawn, kept = 0, []
    with progress(f"{options.count} samples") as tell:
        for batch in batches:
            if is_file(options.out):
                kept.append(batch)
            else:
                write_pictures([batch], paths[drawn : drawn + len(batch)], options.out, options.force, options.zoom)
            drawn += len(batch)
            tell(drawn / options.count)
    if kept:
        write_pictures(_rows(model, torch.cat(kept), options.labels), paths, options.out, options.force, options.zoom)
    seconds = time.monotonic() - start
    if options.json:
        about = {"model": options.model, "count": options.count, "seed": options.seed, "density": options.density}
        print(json.dumps({**about, "output": str(options.out), "seconds": round(seconds, 2)}))
    else:
        print(f"{options.out}  {options.count} sample{'s' * (options.count != 1)}  {seconds:.1f} s")
    return 0


def _rows(model, samples, labels):
    """One column a class, where classes are drawn in turn; else near to a square."""
    from predella.apps.sheet import near_square

    columns = labels.count(",") + 1 if labels else getattr(getattr(model.config, "prior", None), "classes", 0)
    return list(samples.split(columns)) if 1 < columns <= 20 else near_square(samples)


def _of_density(model, options):
    """Draws of z and of p(x | z), in batches."""
    import torch

    from predella.apps.density import samples
    from predella.errors import UserError

    if options.labels or options.density != "prior":
        raise UserError("--labels and --density are for reversible networks; this model draws from its prior, leave them out")
    return samples(model, options.count, torch.Generator().manual_seed(options.seed), options.mean)


def _draw(model, options):
    """Draws in batches."""
    import torch

    from predella.cli.shared import whole_numbers
    from predella.errors import UserError

    if options.mean:
        raise UserError("--mean is for densities of pixels (coverage_quality); this model's samples have no such noise, leave it out")
    generator = torch.Generator().manual_seed(options.seed)
    labels = None
    if options.labels is not None:
        given = whole_numbers(options.labels, "--labels", "3,5")
        classes = getattr(model.config.prior, "classes", 0)
        if classes and max(given) >= classes:
            raise UserError(f"--labels must lie in 0…{classes - 1}, got {max(given)}")
        labels = torch.tensor([given[i % len(given)] for i in range(options.count)])
    for first in range(0, options.count, 64):
        count = min(64, options.count - first)
        label = None if labels is None else labels[first : first + count]
        if label is None and hasattr(model.config.prior, "classes"):
            label = torch.arange(first, first + count) % model.config.prior.classes
        try:
            with torch.no_grad():
                batch = model.sample(count, generator, density=options.density, label=label).cpu()
        except ValueError as error:
            raise UserError(str(error)) from None
        yield batch
