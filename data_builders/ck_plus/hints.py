"""Forms of CK+ that are not read, for messages."""

from data_builders import trees
from dmsrl_jax import expressions

_LOOSE = r'S\d{3}_\d{3}_\d{8}(?:_emotion\.txt|\.(?:png|jpe?g|bmp))'


def rows(tree: trees.Tree) -> str:
    """Says that a file with the crops as rows of numbers is not read; empty where there is none."""
    for name in tree.find(r'ckextended\.csv', alike=False):
        return f'{name}, CK+ as rows of a CSV file, is not read: get CK+48 for ck_plus/ck48; '
    return ''


def loose_files(tree: trees.Tree) -> str:
    """Says that frames or labels do not lie in folders as their owners have them, for messages.

    Args:
        tree: the user's files.

    Returns:
        A sentence; empty where all do, or lie in folders by class.
    """
    for found in tree.find(_LOOSE, alike=False).values():
        *_, folder, name = ('', *found.path.split('/'))
        if not folder.isdecimal() and not expressions.is_label(folder):
            place = '/'.join(name.split('_')[:2])
            return f'{found.path} and the like must lie in folders such as {place}/; '
    return ''
