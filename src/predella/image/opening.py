"""Pillow's opening of files, without its traps: a limit of its own, TIFFs that it maps or turns, EXIF that can't be written again."""

import threading

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

ORIENTATION = 0x0112  # the EXIF tag
TURNS = {  # its values → what turns the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_OPENING = threading.Lock()  # Pillow's limit is one of the whole process


def opened(source) -> Image.Image:
    """`Image.open` for files of any size, which those who open them judge by MAX_PIXELS.

    A TIFF is read, not mapped: Pillow maps rows as long as those of the turned picture.
    """
    with _OPENING:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(source)
        finally:
            Image.MAX_IMAGE_PIXELS = before
    if isinstance(image, TiffImageFile):
        image.filename = ""
    return image


def upright(image: Image.Image) -> Image.Image:
    """A loaded image as its EXIF says it is seen; whatever else that says, it is not read."""
    image.load()
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)
