"""What an image is here: files, contract, resampling, coordinates, tiles. Nothing is learned."""

from predella.image.contract import check_image, from_uint8, quantize, to_uint8
from predella.image.resize import resize

__all__ = ["check_image", "from_uint8", "quantize", "resize", "to_uint8"]
