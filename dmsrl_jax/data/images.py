"""From the bytes of an image file to a square uint8 RGB array (no jax: for worker processes)."""

import functools
import io
import os
import pathlib

import numpy as np
from PIL import Image, ImageOps

from dmsrl_jax.errors import InputError

# How image files are called, where a folder is looked through.
SUFFIXES = (
    '.avif',
    '.bmp',
    '.gif',
    '.jfif',
    '.jp2',
    '.jpeg',
    '.jpg',
    '.pgm',
    '.png',
    '.ppm',
    '.tif',
    '.tiff',
    '.webp',
)
# What telephones write and nothing here decodes: told, not passed over.
HEIC = ('.heic', '.heif')
# What is decoded. Of Pillow's other formats some run programs (EPS starts Ghostscript).
_FORMATS = ('JPEG', 'PNG', 'BMP', 'GIF', 'PPM', 'TIFF', 'WEBP', 'JPEG2000', 'AVIF')

# Faces are small; a file that claims more pixels than this is a mistake or a decompression bomb.
MAX_PIXELS = 64_000_000
_ALPHA_MODES = ('RGBA', 'LA', 'PA', 'RGBa', 'La')


def decode(data: bytes, size: int, *, name: str = '') -> np.ndarray:
    """Decodes an image file and resizes it to a square, whatever its aspect ratio.

    Grey, palette, CMYK and 16-bit images become 8-bit RGB; transparent ones are laid on black; an
    EXIF orientation is applied. The resize is Pillow's bilinear one, which antialiases.

    Args:
        data: the bytes of a PNG, JPEG or other file that `opened` knows; of an animation, the first
            frame counts.
        size: side of the result in pixels.
        name: the file's name, for the error message.

    Returns:
        uint8 array [size, size, 3], channels in RGB order.

    Raises:
        InputError: the bytes are no image, are cut short, or decode to more than `MAX_PIXELS`.
    """
    if size < 1:
        raise InputError(f'the image size must be at least 1 pixel, got {size}')
    image = upright(data, name=name).resize((size, size), Image.Resampling.BILINEAR)
    return np.array(image if image.mode == 'RGB' else image.convert('RGB'))


def upright(data: bytes, *, name: str = '') -> Image.Image:
    """Decodes an image file in its full size: 8 bits, EXIF orientation applied.

    Args:
        data: the bytes of a PNG, JPEG or other file that `opened` knows; of an animation, the first
            frame counts.
        name: the file's name, for the error message.

    Returns:
        A picture of mode L (grey) or RGB.

    Raises:
        InputError: the bytes are no image, are cut short, or decode to more than `MAX_PIXELS`.
    """
    try:
        with opened(data) as file:
            if file.width * file.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f'{file.width} x {file.height} pixels')
            file.load()
            ImageOps.exif_transpose(file, in_place=True)  # else it copies upright ones, too
            return eight_bits(file)
    # Pillow's plugins raise many kinds of errors on broken bytes; all mean that the file is bad.
    except Exception as error:
        where = f'image {name!r}' if name else f'image of {len(data)} bytes'
        raise InputError(
            f'cannot decode {where}: {_reason(error)}; replace the file or leave it out'
        ) from error


def read(path: str | os.PathLike[str], size: int) -> np.ndarray:
    """Reads and decodes an image file; see `decode`.

    Args:
        path: the file.
        size: side of the result in pixels.

    Returns:
        uint8 array [size, size, 3], channels in RGB order.

    Raises:
        InputError: the file is missing, unreadable or no image.
    """
    if not (os.path.isfile(path) or os.path.isdir(path)) and os.path.exists(path):
        # A pipe would be read for ever.
        raise InputError(f'cannot read image {str(path)!r}: it is no file')
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise InputError(f'cannot read image {str(path)!r}: {error.strerror or error}') from error
    return decode(data, size, name=str(path))


def opened(data: bytes) -> Image.Image:
    """Opens an image file without decoding it; only formats that Pillow reads by itself.

    Args:
        data: the bytes of the file: JPEG, PNG, BMP, GIF, PPM, TIFF, WebP, JPEG 2000 or AVIF.

    Returns:
        The image, in the mode in which the file holds it.

    Raises:
        PIL.UnidentifiedImageError: none of these.
    """
    return Image.open(io.BytesIO(data), formats=_known_formats())


@functools.cache
def _known_formats() -> tuple[str, ...]:
    Image.init()  # some builds of Pillow lack some
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def eight_bits(image: Image.Image) -> Image.Image:
    """Brings an image to 8 bits, transparent ones on black.

    Args:
        image: of any mode but floating-point pixels. Of 32-bit integers, values above 255 are taken
            for 16-bit ones.

    Returns:
        Mode L or RGB; grey stays L, whose resize costs a third.

    Raises:
        ValueError: floating-point pixels.
    """
    if image.mode in ('L', 'RGB'):
        return image
    if image.mode.startswith('I'):
        # Pillow would clip 16-bit values at 255 instead of scaling them.
        values = np.asarray(image).astype(np.int64)
        if image.mode != 'I' or np.max(values) > 255:
            values = values // 257
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    if image.mode == 'F':
        raise ValueError('floating-point pixels have no agreed range; save it with 8 bits')
    if image.mode in _ALPHA_MODES or 'transparency' in image.info:
        image = image.convert('RGBA')
        black = Image.new('RGBA', image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert('RGB')


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return f'not an image file of a known format ({", ".join(_known_formats())})'
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f'too large ({error}); the limit is {MAX_PIXELS} pixels'
    return str(error) or type(error).__name__
