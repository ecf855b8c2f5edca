"""Measures the face detectors on a folder: `python experiments/detectors.py --images DIR`.

Prints for each detector how many pictures it finds a face in, how many only after a border was put
around the picture, in how many it finds several, and how many it manages per second of one
processor; and for pairs of them how far their landmarks are apart.
"""

import pathlib
import time
from collections.abc import Sequence

import numpy as np
from absl import flags
from PIL import Image

from dmsrl_jax.data import faces, images
from dmsrl_jax.errors import InputError
from experiments import cli


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string('images', None, 'Folder with pictures of faces.', flag_values=values)
    flags.DEFINE_list('detectors', ['yunet', 'mtcnn'], 'Which ones.', flag_values=values)
    flags.DEFINE_integer('most', 0, 'Pictures to look at, evenly spread; 0 for all.',
                         lower_bound=0, flag_values=values)  # fmt: skip


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Prints the table."""
    flag = values.flag_values_dict()
    if len(argv) > 1 or not flag['images']:
        raise InputError('pass --images DIR and nothing else; see --help')
    paths = spread(pictures(pathlib.Path(flag['images'])), flag['most'])
    print(f'{len(paths)} pictures in {flag["images"]}')
    found = {}
    for name in flag['detectors']:
        found[name], seconds = look(paths, name)
        print(f'{name}: {describe(found[name], seconds)}')
    names = list(found)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            print(f'{first} and {second}: {agreement(found[first], found[second])}')


def pictures(folder: pathlib.Path) -> list[pathlib.Path]:
    """Image files below a folder, sorted.

    Raises:
        InputError: there are none.
    """
    paths = sorted(p for p in folder.rglob('*') if p.suffix.lower() in images.SUFFIXES)
    if not paths:
        raise InputError(f'no image files ({", ".join(images.SUFFIXES)}) in {folder}')
    return paths


def spread(paths: list[pathlib.Path], most: int) -> list[pathlib.Path]:
    """At most so many of the paths, evenly spread; all of them for 0."""
    if not most or most >= len(paths):
        return paths
    return [paths[i * len(paths) // most] for i in range(most)]


class Counted:
    """A detector that counts how often it is asked."""

    def __init__(self, detector: faces.Detector):
        self.identity, self.asked, self._detector = detector.identity, 0, detector

    def detect(self, image: np.ndarray) -> list[faces.Face]:
        """Asks the detector."""
        self.asked += 1
        return self._detector.detect(image)


def look(
    paths: Sequence[pathlib.Path], name: str
) -> tuple[list[tuple[list[faces.Face], int]], float]:
    """Runs one detector over files.

    Args:
        paths: the files.
        name: see `faces.create`.

    Returns:
        Faces and number of attempts by picture; seconds of processor time for the detection alone.
    """
    detector, found, seconds = Counted(faces.create(name)), [], 0.0
    for path in paths:
        image: Image.Image = images.upright(path.read_bytes(), name=str(path))
        before, start = detector.asked, time.process_time()
        seen = faces.find(image, detector)
        seconds += time.process_time() - start
        found.append((seen, detector.asked - before))
    return found, seconds


def describe(found: Sequence[tuple[list[faces.Face], int]], seconds: float) -> str:
    """One detector's numbers in one line."""
    total = len(found)
    some = sum(bool(seen) for seen, _ in found)
    late = sum(bool(seen) and attempts > 1 for seen, attempts in found)
    several = sum(len(seen) > 1 for seen, _ in found)
    return (
        f'a face in {some} of {total} ({100 * some / total:.2f} %), {late} of them only with a '
        f'border; several in {several}; {total / max(seconds, 1e-9):.1f} pictures per second of '
        'one processor'
    )


def agreement(
    a: Sequence[tuple[list[faces.Face], int]], b: Sequence[tuple[list[faces.Face], int]]
) -> str:
    """How far the landmarks of two detectors are apart, in distances between the eyes."""
    distances = []
    for (first, _), (second, _) in zip(a, b, strict=True):
        if first and second and first[0].landmarks and second[0].landmarks:
            p, q = np.asarray(first[0].landmarks), np.asarray(second[0].landmarks)
            between_eyes = max(float(np.linalg.norm(p[0] - p[1])), 1.0)
            distances.append(np.linalg.norm(p - q, axis=1).mean() / between_eyes)
    if not distances:
        return 'no picture in which both find landmarks'
    half, most = np.percentile(distances, [50, 90])
    return (
        f'landmarks {half:.3f} of the distance between the eyes apart (median of {len(distances)} '
        f'pictures; 90 % below {most:.3f})'
    )


if __name__ == '__main__':
    define_flags()
    cli.run(main)
