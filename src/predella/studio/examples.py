"""Pictures to begin with, made of those that come with scikit-image and scikit-learn."""

from pathlib import Path

from predella.apps.demo_reversible import FACE
from predella.apps.demo_tower import digit, house
from predella.data.images import Source
from predella.image.contract import from_uint8
from predella.image.files import Picture, write
from predella.image.fit import fit_square
from predella.image.jpeg import encode
from predella.image.resize import resize
from predella.tasks.colorization import lightness
from predella.tasks.decompression import Decompression
from predella.tasks.super_resolution import degrade


def make_examples(folder: Path) -> dict[str, str]:
    """Writes them into `folder`: what an example is of → its file."""
    images = Source(paths=("photos",)).open()
    photo = {name: from_uint8(images[i])[None] for i, name in enumerate(images.names) if name in ("china", "astronaut", "chelsea")}
    china = resize(photo["china"], (213, 320)).clamp(-1, 1)
    pictures = {
        "grey": lightness(china), "few": degrade(fit_square(photo["astronaut"], 64, FACE), (4, 4)),
        "facade": house(), "digit": digit(4), "cat": resize(photo["chelsea"], (100, 150)).clamp(-1, 1), "photo": photo["chelsea"],
        "landscape": china,
    }  # fmt: skip
    folder.mkdir()
    files = {name: folder / f"{name}.png" for name in pictures}
    for name, pixels in pictures.items():
        write(Picture(pixels), files[name], False)
    files["ruined"] = folder / "ruined.jpg"
    files["ruined"].write_bytes(encode(photo["astronaut"][0, :, :160, 140:300], Decompression().quality))
    return {name: str(file) for name, file in files.items()}
