"""TFDS builder of RAF-DB 2.0 as it circulates: one folder of faces and one list."""

from collections.abc import Iterator
from typing import Any, ClassVar

from data_builders import corpus, counts, splits, trees
from dmsrl_jax.errors import InputError

NEEDS = (
    'RAFall.zip, or the folder RAFall/ that it unpacks to, and RAFlist.txt beside it or in it '
    '(the form in which RAF-DB 2.0 circulates, not one that its owners offer to the public)'
)
PROTOCOLS = {'default': 'all images of the list; train and test are our own'}
_PICTURE = r'(?P<id>[^/]+\.(?:jpe?g|png|bmp))'
# What lies beside it in the folder in which it circulates, and RAF-DB itself.
_OTHERS = 'CK|FER|JAFFE|MMI|Oulu-CASIA|SFEW|AffectNet_Val|basic|compound'


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS | splits.OPTIONS


class Builder(corpus.Builder):
    """Writes train and test, a split of our own."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    PICTURES: ClassVar = {'default': 'RAFall/NAME.jpg'}
    COUNTS: ClassVar = {'default': (counts.Count('listed images', 14_209, False, 14_272),)}

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Images of the list in its order."""
        found, *_ = self.need(tree, r'RAF_?list\.txt').values()
        pictures = tree.index(rf'RAFall/(?:[^/]+/)*{_PICTURE}')
        pictures = pictures or tree.index(rf'RAFall[^/]*/(?:[^/]+/)*{_PICTURE}')
        pictures = pictures or tree.index(_PICTURE, without=_OTHERS)
        for line, text in tree.lines(found.path):
            where = f'{found.path} line {line}'
            name, code = read_line(text, where)
            self.found['listed images'] += 1
            label = self.keep(code, 'alphabetical', name, where)
            if not (path := pictures.named(name)):
                self.drops.add(corpus.MISSING, name)
            elif label is not None:
                yield corpus.Item(path.rpartition('/')[2], label, path)


def read_line(text: str, where: str) -> tuple[str, int]:
    """Reads `name code`; of a name with folders, as some copies have it, the last part counts.

    Args:
        text: the line.
        where: file and line, for messages.

    Returns:
        File name and code.

    Raises:
        InputError: it is something else.
    """
    name, _, code = text.replace('\t', ' ').rpartition(' ')
    name = name.strip().replace('\\', '/').rpartition('/')[2]
    if not name or not code.isdecimal():
        raise InputError(f'{where}: expected `name code`, got {text!r}')
    return name, int(code)


make_builder = corpus.maker(Builder, options)
