"""Colours of a face's parts by domain."""

import numpy as np

from data_builders.synthetic_faces.draw import Colour
from data_builders.synthetic_faces.identity import Identity


def _colour(value: np.ndarray) -> Colour:
    red, green, blue = np.clip(value, 0.0, 255.0).astype(int).tolist()
    return red, green, blue


def natural(identity: Identity, cloth: np.ndarray) -> dict[str, Colour]:
    """Colours in visible light.

    Args:
      identity: skin, hair and iris.
      cloth: RGB [3], 0..255.

    Returns:
      Colour by role.
    """
    skin = identity.skin
    lips = skin * (0.86, 0.6, 0.6) + (12.0, 4.0, 6.0)
    brow = np.minimum(identity.hair * 0.8, skin * 0.6)
    return {
        'head': _colour(skin),
        'neck': _colour(skin * 0.84),
        'ear': _colour(skin * 0.9),
        'cloth': _colour(cloth),
        'hair': _colour(identity.hair),
        'brow': _colour(brow),
        'eye_white': (236, 234, 230),
        'iris': _colour(identity.iris),
        'pupil': (16, 14, 14),
        'glint': (250, 250, 250),
        'lid': _colour(skin * 0.3),
        'crease': _colour(skin * (0.56, 0.48, 0.46)),
        'nostril': _colour(skin * 0.36),
        'lip': _colour(lips),
        'lip_line': _colour(lips * 0.5),
        'mouth': (62, 22, 24),
        'teeth': (240, 236, 226),
        'tongue': (178, 84, 86),
        'frame': (34, 30, 32),
    }


def infrared(identity: Identity, cloth: np.ndarray) -> dict[str, Colour]:
    """Grey levels under a near-infrared lamp.

    Skin reflects strongly and alike in all subjects, pigment of brows and lips is faint, pupils
    send the lamp's light back, dyed cloth turns bright.

    Args:
      identity: the subject; tone of skin and hair come through faintly.
      cloth: RGB [3] in visible light.

    Returns:
      Colour (three equal channels) by role.
    """
    skin = 172.0 + 0.16 * float(identity.skin.mean())
    hair = 78.0 + 0.5 * float(identity.hair.mean())
    levels = {
        'head': skin,
        'neck': 0.84 * skin,
        'ear': 0.9 * skin,
        'cloth': 110.0 + 0.3 * float(cloth.mean()),
        'hair': hair,
        'brow': 0.6 * hair + 0.18 * skin,
        'eye_white': 190.0,
        'iris': 84.0,
        'pupil': 250.0,
        'glint': 255.0,
        'lid': 0.42 * skin,
        'crease': 0.66 * skin,
        'nostril': 0.3 * skin,
        'lip': 0.84 * skin,
        'lip_line': 0.5 * skin,
        'mouth': 48.0,
        'teeth': 205.0,
        'tongue': 130.0,
        'frame': 60.0,
    }
    return {role: _colour(np.full(3, level)) for role, level in levels.items()}
