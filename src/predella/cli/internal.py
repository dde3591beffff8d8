"""Shared by the verbs that work on pictures' own patches: the model of an image, its weights, and what is written."""

import json
import logging
import shlex
import sys
import time
from pathlib import Path

SURVEYED, COPIED_MUCH = 3, 0.5  # variations whose copies are counted; share of copies that is worth a word
COLUMNS = 6  # of a sheet: the picture, then its variations
OWN = "without --model one is trained on the picture itself"
KNOWN, WELL = 18.0, 22.0  # dB of a reconstruction: half and a tenth of meta_internal_photos' own 40 landscapes have more


def vary(options, model) -> int:
    """`predella vary` for images: by `model`, by one trained on each image (None), or by nearest patches."""
    import torch

    from predella.apps import internal, patches
    from predella.cli.progress import progress
    from predella.cli.shared import all_usable, check_seed, check_zoom, leave_out, on_white, parse_size, say, several_each
    from predella.errors import UserError
    from predella.image.files import read

    leave_out(options, "--box --steps --reach", "variations of images")
    if options.method == "patch":
        leave_out(options, "--tune --from-scale --train-steps --keep", "--method patch, which has no network")
    elif model is not None:
        leave_out(options, "--train-steps --keep", "a model that is trained already")
    if not 1 <= options.count <= 1000:
        raise UserError(f"--count must lie in 1…1000, got {options.count}")
    check_tuning(options)
    check_seed(options.seed)
    check_zoom(options.zoom)
    images, lenient, paths = several_each(options.images, options.count, options.out, options.force)
    wanted = parse_size(options.size)
    coarsest = coarsest_edge(model)
    if wanted:
        internal.check_size(wanted, least=1 if options.method == "patch" else coarsest)
    internal.check_together(options.count, wanted or (1, 1))
    if options.method == "patch":
        patches.check_size(wanted)
    if options.method == "model":
        scale_of(model, options.from_scale, 0)

    def looked_at(file: Path):
        picture = on_white(read(file), file)
        if options.method == "patch":
            patches.check(picture, str(file))
        else:
            internal.check_picture(picture, coarsest, str(file))
            if model is not None:
                internal.check_together(options.count, wanted or model.fit((picture.shape[-2], picture.shape[-1])))
        return picture

    if options.keep and len(images) > 1:
        raise UserError(f"--keep is for the model of one image, got {len(images)} images; train the others by themselves")
    done: list[dict] = []
    for file, picture in all_usable(images, lenient, looked_at, lambda file: read(file).on_white()):
        start, generator, made = time.monotonic(), torch.Generator().manual_seed(options.seed), []
        source, answers = picture, iter(())
        if options.method == "model":
            own = model if model is not None else train_on(file, options, options.out)
            source = internal.at_home(own, picture, str(file))
            weights, size = own_weights(own, source, file, options, generator), wanted or (source.shape[-2], source.shape[-1])
            answers = internal.variations(own, weights, size, options.count, generator, options.from_scale, source)
        with progress(f"{file.name}: {options.count} variations") as tell:
            if options.method == "patch":
                source, answers = patches.variations(picture, wanted, options.count, generator, tell)
            for answer in answers:
                made.append(internal.without_colour(answer, picture))
                tell(len(made) / options.count)
        _write(made, source, paths[file], options)
        done.append({"input": str(file), "variations": [str(p) for p in paths[file][:-1]], "sheet": str(paths[file][-1])})
        if options.method == "patch":
            done[-1]["copied"] = [patches.copied(p, source) for p in made[:SURVEYED]]
            most = max(share or 0 for share in done[-1]["copied"])
            if most > COPIED_MUCH:
                told = f"{most:.0%} of a variation's patches are copied with their neighbours"
                say(f"{file}: {told}; a larger --size or a network (--keep) copies less")
        if not options.json:
            size = made[0].shape
            print(f"{paths[file][-1]}  {options.count} of {size[-1]}×{size[-2]}  {time.monotonic() - start:.1f} s")
    if options.json:
        print(json.dumps({"model": options.model, "method": options.method, "tune": options.tune, "files": done}))
    return 0


def check_tuning(options) -> None:
    """Raise UserError for a number of steps that can't be tuned by."""
    from predella.errors import UserError

    if not 0 <= options.tune <= 100_000:
        raise UserError(f"--tune must lie in 0…100000 steps, got {options.tune}")


def own_weights(model, source, file: Path, options, generator, remedy: str = OWN):
    """θ of a picture at home, tuned by --tune steps; a word where it will be seen how little the model knows it, and what would help."""
    from predella.apps import internal
    from predella.cli.progress import progress
    from predella.cli.shared import say

    weights = internal.weights_of(model, source)
    if options.tune:
        with progress(f"{file.name}: {options.tune} steps of tuning") as tell:
            weights = internal.tuned(model, weights, source, options.tune, generator, tell)
    if options.model and (found := internal.likeness(model, weights, source)) < (KNOWN if options.tune else WELL):
        what = "its colours at best" if found < KNOWN else "rough textures in its colours"
        nearer = f"--tune {max(100, 2 * options.tune)} draws it nearer"
        say(f"the model hardly knows {file} ({found:.1f} dB of its reconstruction): expect {what}; {nearer}, {remedy}")
    return weights


def coarsest_edge(model) -> int:
    """The longest edge of the model's first scale; of one that is yet to be trained, too (None)."""
    from predella.recipes.meta_internal import MODEL

    return MODEL.coarsest if model is None else model.edges[0]


def scale_of(model, asked: int | None, default: int, least: int = 0) -> int:
    """The scale that is asked for, or the default, or the last if there is none so high; of a model that is yet to be trained, too (None).

    Raises:
        UserError: there is no such scale.
    """
    from predella.apps.internal import check_scale
    from predella.recipes.meta_internal import MODEL

    scales = MODEL.scales if model is None else int(model.grown)
    check_scale(scales, min(default, scales - 1) if asked is None else asked, least)
    return min(default, scales - 1) if asked is None else asked


def _write(made, source, paths: list[Path], options) -> None:
    from predella.apps.sheet import framed, sheet
    from predella.image.files import Picture, write

    for picture, path in zip(made, paths):
        write(Picture(sheet([picture], zoom=options.zoom)), path, options.force)
    write(Picture(sheet(framed([source, *made[:11]], COLUMNS), zoom=options.zoom)), paths[-1], options.force)


def train_on(image: Path, options, writes: Path):
    """A single-image model of `image`, trained now, with a line of progress; it stays in the folder --keep, if that is given.

    Args:
        writes: the folder that answers are written to; tried before the training.
    """
    from contextlib import ExitStack
    from tempfile import TemporaryDirectory

    from predella.apps.device import placed
    from predella.atomic import ROOM, check_folder
    from predella.cli.progress import progress
    from predella.cli.shared import say
    from predella.cli.train import keep_freed_memory
    from predella.errors import UserError
    from predella.recipe import override
    from predella.recipes import find_recipe
    from predella.run import start
    from predella.train.checkpoint import goes_on, unfinished
    from predella.train.trainer import Interrupted, NotFinite

    recipe = find_recipe("meta_internal_plain")()
    if not 1 <= options.train_steps <= 100_000:
        raise UserError(f"--train-steps must lie in 1…100000, got {options.train_steps}")
    steps = {f"stages.{i}.steps": str(options.train_steps) for i in range(len(recipe.stages))}
    recipe = override(recipe, {"data.paths": json.dumps([str(image)]), "data.smallest": "1", "sample_every": "1000000", **steps})
    check_folder(writes, ROOM)
    if options.keep:
        if options.keep.exists() and (not options.keep.is_dir() or any(options.keep.iterdir())):
            raise UserError(
                unfinished(options.keep)
                or f"--keep {options.keep} exists; name a new folder, or use the model that is in it by --model {options.keep}"
            )
        check_folder(options.keep, ROOM)
    keep_freed_memory()
    log = logging.getLogger("predella")
    with ExitStack() as stack:
        stack.callback(log.setLevel, log.level)
        log.setLevel(logging.WARNING if options.keep else logging.ERROR)
        folder = options.keep or Path(stack.enter_context(TemporaryDirectory()))
        tell = stack.enter_context(progress(f"{image.name}: training its model"))
        try:
            model = start(recipe, folder, "predella " + shlex.join(sys.argv[1:]), cpu=options.cpu, tell=tell)
        except ValueError as error:
            raise UserError(f"{image}: {error}") from None
        except NotFinite as error:
            raise UserError(f"{image}: its training diverged ({error}); try fewer --train-steps") from None
        except Interrupted:
            if options.keep:
                say(goes_on(folder))
            raise KeyboardInterrupt from None
    if options.keep:
        print(f"{folder}  the model of {image}, for --model", file=sys.stderr)
    return placed(model, options.cpu)
