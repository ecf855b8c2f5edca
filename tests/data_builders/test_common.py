import io
import pathlib

import numpy as np
import pytest
from etils import epath
from PIL import Image

import data_builders
from data_builders import common, label_codes, preparing
from dmsrl_jax.data import corpora, images
from dmsrl_jax.errors import InputError


def encoded(kind: str, mode: str = 'RGB', size: tuple[int, int] = (9, 7)) -> bytes:
    out = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(values).convert(mode).save(out, kind)
    return out.getvalue()


class TestDrops:
    def test_counts_all_and_keeps_five_names(self):
        drops = common.Drops()
        for i in range(7):
            drops.add('black', f'{i}.png')
        drops.add('odd', 'x.png')
        assert len(drops) == 8
        assert drops.as_dict() == {
            'black': {'count': 7, 'examples': ['0.png', '1.png', '2.png', '3.png', '4.png']},
            'odd': {'count': 1, 'examples': ['x.png']},
        }


class TestFiles:
    def test_finds_the_shallowest_level_and_skips_junk(self, tmp_path):
        for name in ('__MACOSX/a.csv', '._a.csv', 'wrap/wrap/a.csv', 'wrap/wrap/deep/a.csv'):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        found = common.find_files(tmp_path, lambda name: name.endswith('.csv'))
        assert found == [tmp_path / 'wrap/wrap/a.csv']

    def test_looks_two_folders_deep_and_no_deeper(self, tmp_path):
        (tmp_path / 'a/b/c').mkdir(parents=True)
        (tmp_path / 'a/b/c/x.csv').touch()
        assert common.find_files(tmp_path, 'x.csv'.__eq__) == []
        assert len(common.find_files(tmp_path, 'x.csv'.__eq__, depth=3)) == 1

    def test_describe_names_content_without_junk(self, tmp_path):
        (tmp_path / 'images').mkdir()
        for name in ('a.txt', 'Thumbs.db', '.DS_Store'):
            (tmp_path / name).touch()
        assert common.describe(tmp_path) == f'{tmp_path} holds a.txt, images/'
        assert common.describe(tmp_path, most=1) == f'{tmp_path} holds a.txt and 1 more'
        assert common.describe(tmp_path / 'images').endswith('holds nothing')


class TestHashFraction:
    def test_golden_values(self):
        # BLAKE2b of '0:a.png', first 8 bytes as a fraction of 2**64: splits must never change
        assert common.hash_fraction('a.png', 0) == pytest.approx(0.22715328231472937, abs=1e-15)
        assert common.hash_fraction('a.png', 0) != common.hash_fraction('a.png', 1)

    def test_is_uniform(self):
        values = np.array([common.hash_fraction(f'{i}.png', 0) for i in range(4000)])
        assert values.min() >= 0
        assert values.max() < 1
        # the standard error of the mean of 4000 uniform numbers is 0.0046
        assert abs(values.mean() - 0.5) < 0.02
        assert abs((values < 0.2).mean() - 0.2) < 0.025


class TestStoredBytes:
    @pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
    @pytest.mark.parametrize('mode', ['L', 'RGB'])
    def test_keeps_jpeg_and_png(self, kind, mode):
        data = encoded(kind, mode)
        assert common.stored_bytes(data, 'x') == data

    @pytest.mark.parametrize('kind', ['BMP', 'TIFF', 'GIF'])
    def test_converts_others_to_png_without_loss(self, kind):
        data = encoded(kind, 'L')
        stored = Image.open(io.BytesIO(common.stored_bytes(data, 'x')))
        assert stored.format == 'PNG'
        original = Image.open(io.BytesIO(data)).convert('L')
        np.testing.assert_array_equal(np.asarray(stored.convert('L')), np.asarray(original))

    def test_converts_cmyk_tiff(self):
        stored = Image.open(io.BytesIO(common.stored_bytes(encoded('TIFF', 'CMYK'), 'x')))
        assert (stored.format, stored.mode) == ('PNG', 'RGB')

    @pytest.mark.parametrize('kind', ['<u2', '>u2', '<i4'])
    def test_scales_16_bits_and_never_clips(self, kind):
        values = np.linspace(0, 65535, 64).reshape(8, 8).astype(kind)
        mode = {'<u2': 'I;16', '>u2': 'I;16B', '<i4': 'I'}[kind]
        out = io.BytesIO()
        Image.frombytes(mode, (8, 8), values.tobytes()).save(out, 'TIFF')
        stored = images.decode(common.stored_bytes(out.getvalue(), 'x'), 8)
        np.testing.assert_array_equal(stored[..., 0], values.astype(int) // 257)

    @pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
    def test_refuses_a_cut_file_and_names_it(self, kind):
        data = encoded(kind, size=(64, 64))
        with pytest.raises(InputError, match=r'faces/a\.jpg'):
            common.stored_bytes(data[: len(data) // 2], 'faces/a.jpg')

    def test_refuses_what_is_no_image(self):
        with pytest.raises(InputError, match='not an image'):
            common.stored_bytes(b'hello', 'a.png')

    def test_refuses_a_decompression_bomb(self):
        out = io.BytesIO()
        Image.new('1', (20_000, 20_000)).save(out, 'PNG')
        with pytest.raises(InputError, match=r'bomb\.png.*too large'):
            common.stored_bytes(out.getvalue(), 'bomb.png')


class TestCheckedExamples:
    def test_passes_examples_on(self):
        examples = [('a', {}), ('b', {})]
        assert list(common.checked_examples('train', iter(examples), common.Drops())) == examples

    def test_refuses_an_empty_split_with_the_reasons(self):
        drops = common.Drops()
        drops.add('black image', 'a')
        with pytest.raises(InputError, match=r"no image is left in split 'test'.*1 black image"):
            list(common.checked_examples('test', iter([]), drops))


# surprise fear disgust happiness sadness anger neutral, from the corpora's own papers
TABLE = {
    'canonical': (0, 1, 2, 3, 4, 5, 6),
    'raf': (1, 2, 3, 4, 5, 6, 7),
    'alphabetical': (6, 2, 1, 3, 5, 0, 4),
    'affectnet': (3, 4, 5, 1, 2, 6, 0),
    'fer2013': (5, 2, 1, 3, 4, 0, 6),
    'ckplus': (7, 4, 3, 5, 6, 1, 0),
    'mmi': (6, 3, 2, 4, 5, 1),
    'afe': (3, 6, 5, 1, 4, 9, 0),
}


class TestLabelCodes:
    def test_table_is_complete(self):
        assert set(TABLE) == set(label_codes.ORDERS)

    @pytest.mark.parametrize('order', TABLE)
    def test_codes_mean_what_the_corpora_say(self, order):
        codes = TABLE[order]
        assert [label_codes.canonical(code, order) for code in codes] == list(range(len(codes)))

    @pytest.mark.parametrize(
        ('order', 'codes'),
        [('affectnet', (7, 8, 9, 10)), ('ckplus', (2,)), ('afe', (2, 7, 8, 10))],
    )
    def test_other_codes_are_dropped(self, order, codes):
        assert [label_codes.canonical(code, order) for code in codes] == [None] * len(codes)

    @pytest.mark.parametrize(
        ('order', 'code'), [('raf', 0), ('raf', 8), ('fer2013', 7), ('mmi', 7)]
    )
    def test_out_of_range_lists_the_codes(self, order, code):
        with pytest.raises(InputError, match=f'label {code} is out of range.*surprise'):
            label_codes.canonical(code, order)

    def test_unknown_order(self):
        with pytest.raises(InputError, match="'rafdb'; known: canonical, raf"):
            label_codes.canonical(1, 'rafdb')


def test_documented_builder_is_complete(tmp_path, monkeypatch):
    """The example in docs/adding_a_corpus.md runs as it is printed."""
    guide = pathlib.Path(__file__).parents[2] / 'docs' / 'adding_a_corpus.md'
    code = guide.read_text().split('```python\n')[1].split('```')[0]
    folder = tmp_path / 'data_builders_extra' / 'my_corpus'
    folder.mkdir(parents=True)
    (folder / '__init__.py').write_text('"""Test."""\n')
    (folder / 'my_corpus_dataset_builder.py').write_text(code)
    for name, text in (('README.md', 'Test.'), ('CITATIONS.bib', ''), ('TAGS.txt', '')):
        (folder / name).write_text(text)
    for split in ('train', 'test'):
        for group in ('Happy', 'anger', 'contempt'):
            (tmp_path / 'raw' / split / group).mkdir(parents=True)
            (tmp_path / 'raw' / split / group / f'{split}.png').write_bytes(encoded('PNG'))

    paths = [*data_builders.__path__, str(folder.parent)]
    monkeypatch.setattr(data_builders, '__path__', paths)
    assert 'my_corpus' in corpora.registered()
    module = corpora.builder_module('my_corpus')
    monkeypatch.setattr(module.Builder, 'pkg_dir_path', epath.Path(folder))
    options = preparing.typed_options('my_corpus', {})
    _, report, _ = preparing.prepare(
        'my_corpus', options, data_dir=tmp_path / 'out', manual_dir=tmp_path / 'raw'
    )
    assert report['splits']['train']['images'] == 2
    assert report['drops']['label contempt']['count'] == 2
    corpus = corpora.load('my_corpus', 'test', data_dir=tmp_path / 'out')
    assert sorted(corpus.labels().tolist()) == [3, 5]
