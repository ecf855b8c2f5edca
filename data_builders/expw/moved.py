"""Pictures of a list, of which some may lie outside of the owners' folder."""

from data_builders import trees


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
