"""Faces cut the same way everywhere: detection, alignment by five points, crop.

    from dmsrl_jax.data import faces, images
    detector = faces.create('yunet')
    crop, how = faces.cut(images.upright(data), faces.Settings(size=112), detector)

Needs the packages of the extra `align`; importing this module does not.
"""

from dmsrl_jax.data.faces.cache import FaceCache
from dmsrl_jax.data.faces.cutting import HOW, Settings, cut, encode, place, search
from dmsrl_jax.data.faces.detection import Detector, Face, create, find, names
from dmsrl_jax.data.faces.geometry import TEMPLATE, from_box, from_landmarks, similarity, warp

__all__ = [
    'HOW',
    'TEMPLATE',
    'Detector',
    'Face',
    'FaceCache',
    'Settings',
    'create',
    'cut',
    'encode',
    'find',
    'from_box',
    'from_landmarks',
    'names',
    'place',
    'search',
    'similarity',
    'warp',
]
