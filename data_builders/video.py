"""Frames of video clips, by PyAV or, where that is not installed, by OpenCV."""

import importlib.util
import pathlib
from collections.abc import Collection, Generator

import numpy as np

from dmsrl_jax.errors import InputError


def require() -> None:
    """Checks that there is a decoder.

    Raises:
        InputError: neither PyAV nor OpenCV is installed.
    """
    if importlib.util.find_spec('av') or importlib.util.find_spec('cv2'):
        return
    raise InputError(
        "reading video needs PyAV or OpenCV: pip install 'dmsrl_jax[video]' (or av, or "
        'opencv-python-headless)'
    )


def _decoded(path: pathlib.Path) -> Generator[np.ndarray, None, None]:
    """All frames, uint8 [height, width, 3], RGB."""
    require()
    return _by_av(path) if importlib.util.find_spec('av') else _by_opencv(path)


def _by_av(path: pathlib.Path) -> Generator[np.ndarray, None, None]:
    import av

    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format='rgb24')
    except (av.FFmpegError, IndexError) as error:  # no stream of pictures: IndexError
        raise InputError(f'cannot decode video {path}: {error}') from error


def _by_opencv(path: pathlib.Path) -> Generator[np.ndarray, None, None]:
    import cv2

    capture = cv2.VideoCapture(str(path))
    try:
        while True:
            more, frame = capture.read()
            if not more:
                return
            yield np.ascontiguousarray(frame[:, :, ::-1])
    finally:
        capture.release()


def count(path: pathlib.Path) -> int:
    """Counts the frames of a clip by decoding it; what its header says is often wrong.

    Args:
        path: the clip.

    Returns:
        Number of frames.

    Raises:
        InputError: no decoder is installed, or the clip cannot be decoded.
    """
    number = sum(1 for _ in _decoded(path))
    if not number:
        raise InputError(f'cannot decode video {path}: it has no frames that can be read')
    return number


def frames(path: pathlib.Path, numbers: Collection[int]) -> dict[int, np.ndarray]:
    """Decodes some frames of a clip; only these are kept in memory.

    Args:
        path: the clip.
        numbers: which frames, from 0.

    Returns:
        Number to uint8 array [height, width, 3], RGB.

    Raises:
        InputError: no decoder is installed, the clip cannot be decoded or is shorter.
    """
    found, last = {}, max(numbers)
    stream = _decoded(path)
    for number, frame in enumerate(stream):
        if number in numbers:
            found[number] = frame
        if number >= last:
            break
    else:
        raise InputError(f'video {path} has no frame {last}')
    stream.close()
    return found
