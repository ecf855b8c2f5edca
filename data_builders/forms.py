"""Of a picture that lies there in several forms or places, which one counts."""

from collections.abc import Callable, Iterable

from data_builders import trees


def by_stem(name: str, found: trees.Found) -> str:
    """What a picture is called, whatever its format."""
    del found
    return name.rpartition('.')[0].upper()


def by_id(name: str, found: trees.Found) -> str:
    """What the group `id` of its pattern says."""
    del name
    return found.groups['id'].lower()


def first(
    tree: trees.Tree,
    patterns: Iterable[str],
    key: Callable[[str, trees.Found], str],
    *,
    without: str = '',
) -> dict[str, tuple[str, trees.Found]]:
    """Pictures in the first of several forms that each of them has.

    Args:
        tree: the user's files.
        patterns: the owners' form, then those of copies.
        key: which picture a file is, `by_stem` or `by_id`.
        without: as for `Tree.find`.

    Returns:
        Key to what fits the pattern and the file, sorted by key.

    Raises:
        InputError: two files of a form have one name and differ.
    """
    pictures: dict[str, tuple[str, trees.Found]] = {}
    for pattern in patterns:
        found = tree.find(pattern, without=without, alike=not pictures)
        # Copies of what is there already need not be alike among themselves.
        if pictures and not {key(*one) for one in found.items()} <= pictures.keys():
            found = tree.find(pattern, without=without)
        for one in found.items():
            pictures.setdefault(key(*one), one)
    return dict(sorted(pictures.items()))


class Pictures:
    """Files by their listed names: those of the owners' folder, and the rest of it.

    A folder may have been moved in part. Pictures outside of it count only if none of them is
    called like one inside: else they are copies, perhaps cut, which the owners' boxes do not fit.
    """

    def __init__(self, tree: trees.Tree, folder: str, pattern: str, *, without: str = ''):
        """Looks for the pictures.

        Args:
            tree: the user's files.
            folder: name of the owners' folder.
            pattern: of the pictures in it, with the group `id`.
            without: as for `Tree.find`.
        """
        self._own = tree.index(f'{folder}/{pattern}', without=without)
        inside = f'{folder}(?=/{pattern}$)'
        self._tree, self._pattern = tree, pattern
        self._without = f'{without}|{inside}' if without else inside
        others = tree.find(pattern, without=self._without, alike=False).values()
        copied = any(found.groups['id'].lower() in self._own for found in others)
        self._rest = trees.Index(() if copied else others)
        self._compared = False

    def named(self, name: str) -> str | None:
        """The file of a listed name, None if there is none.

        Raises:
            InputError: it is outside of the owners' folder, where two files of one name differ.
        """
        if path := self._own.named(name):
            return path
        path = self._rest.named(name)
        if path and not self._compared:
            self._tree.find(self._pattern, without=self._without)
            self._compared = True
        return path
