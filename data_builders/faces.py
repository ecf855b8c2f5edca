"""Cuts faces out of whole pictures by the boxes that owners ship."""

import io
from collections.abc import Sequence
from typing import Any

from data_builders import common
from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError

OPTIONS: dict[str, tuple[type, Any, str]] = {
    'margin': (float, 0.1, "how far the owners' box is enlarged on each side, as a share of it"),
}
MOST_MARGIN = 100.0  # more takes the whole picture for the face, whatever the box
_QUALITY = 95

Box = tuple[float, float, float, float]


def enlarged(box: Box, margin: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Enlarges a box by a share of its sides on each side and clips it to the picture.

    Args:
        box: left, top, right, bottom in pixels.
        margin: 0.1 adds a tenth of the width left and right, a tenth of the height above and below.
        size: width and height of the picture.

    Returns:
        Left, top, right, bottom, whole pixels inside the picture; empty boxes stay empty.
    """
    left, top, right, bottom = box
    across, down = margin * (right - left), margin * (bottom - top)
    return (
        _within(left - across, size[0]),
        _within(top - down, size[1]),
        _within(right + across, size[0]),
        _within(bottom + down, size[1]),
    )


def _within(side: float, most: int) -> int:
    return round(min(max(0.0, side), most))


def cut(data: bytes, box: Box, margin: float, *, name: str) -> bytes:
    """Cuts a face out of a picture.

    Args:
        data: bytes of an image file.
        box: left, top, right, bottom in pixels of the picture as stored.
        margin: see `enlarged`.
        name: the file's name, for messages.

    Returns:
        Bytes of the face: JPEG where the picture is one, else PNG.

    Raises:
        InputError: no image, too large, or nothing of the box lies in the picture.
    """
    images.decode(data, 8, name=name)  # refuses bombs and broken files
    with images.opened(data) as picture:
        corners = enlarged(box, margin, picture.size)
        if corners[0] >= corners[2] or corners[1] >= corners[3]:
            raise InputError(f'{name}: the box {box} lies outside of its {picture.size} pixels')
        if picture.format not in ('JPEG', 'MPO'):  # its range of values is that of the whole
            return common.png(common.png_mode(picture).crop(corners))
        out = io.BytesIO()
        picture.crop(corners).save(out, 'JPEG', quality=_QUALITY)
        return out.getvalue()


def five_points(points: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Five points out of the usual 68: eyes (mean of six points each), nose tip, mouth corners.

    Args:
        points: 68 pairs x, y in pixels.

    Returns:
        Ten numbers, x and y of: eye on the left side of the picture, other eye, nose tip, mouth
        corner on the left side of the picture, other corner; empty if there are not 68 points.
    """
    if len(points) != 68:
        return ()
    eyes = [points[36:42], points[42:48]]
    means = [(sum(x for x, _ in eye) / 6, sum(y for _, y in eye) / 6) for eye in eyes]
    return tuple(value for pair in (*means, points[30], points[48], points[54]) for value in pair)
