"""An image of a corpus before it is read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from data_builders.faces import Box


class Item(NamedTuple):
    """One image before it is read.

    Attributes:
        file: the owners' name, unique in the corpus; key and `file` of the record.
        label: canonical label 0..6.
        path: name in the tree.
        split: owners' split; empty where the corpus has none and our own decides.
        subject: the person; empty where not known.
        box: the owners' box of the face, (left, top, right, bottom) in pixels, where they ship
            whole pictures with boxes.
        points: the owners' landmarks brought to five, see `faces.five_points`; empty for none.
        extra: values of the features of `Builder.EXTRA`.
        group: items of one group stay together in our own split, where the person is not known.
    """

    file: str
    label: int
    path: str
    split: str = ''
    subject: str = ''
    box: Box | None = None
    points: tuple[float, ...] = ()
    extra: Mapping[str, Any] = {}
    group: str = ''

    @property
    def unit(self) -> str:
        """What our own split does not divide: the person, the group, or else the image."""
        return self.subject or self.group or self.file
