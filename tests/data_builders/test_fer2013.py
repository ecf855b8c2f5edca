import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from data_builders import preparing, trees
from data_builders.fer2013 import fer2013_dataset_builder as fer2013
from data_builders.fer2013 import rows
from data_builders.synthetic_faces.render import render_encoded
from dmsrl_jax.data import corpora
from dmsrl_jax.errors import InputError

REAL = pathlib.Path(__file__).parents[2].parent / 'shared' / 'data' / 'fer2013'
# canonical labels of the codes 0..6 of the file
CANONICAL = [5, 2, 1, 3, 4, 0, 6]


def pixels(number: int) -> np.ndarray:
    """A drawn face of 48x48 in grey, of the expression that row `number` has."""
    face, _ = render_encoded(
        CANONICAL[number % 7], 'studio', size=48, subject_seed=number, sample_seed=0
    )
    return np.asarray(Image.open(io.BytesIO(face)).convert('L')).reshape(-1)


def lines(header: str = 'emotion,pixels,Usage') -> list[str]:
    """Seven training rows, one black, two public and two private rows."""
    usages = ['Training'] * 7 + ['PublicTest'] * 2 + ['PrivateTest'] * 2
    rows = [(i % 7, ' '.join(map(str, pixels(i))), usage) for i, usage in enumerate(usages)]
    rows.insert(7, (3, ' '.join(['0'] * 2304), 'Training'))
    order = [name.strip().lower() for name in header.split(',')]
    texts = [dict(zip(('emotion', 'pixels', 'usage'), row, strict=True)) for row in rows]
    return [header, *(','.join(str(row[name]) for name in order) for row in texts)]


def write(folder: pathlib.Path, content: list[str], name: str = 'fer2013.csv') -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text('\n'.join(content) + '\n')
    return folder


def prepare(tmp_path, manual_dir, name='fer2013', **how):
    return preparing.prepare(name, {}, data_dir=tmp_path / 'out', manual_dir=manual_dir, **how)


def read(folder: pathlib.Path, name: str) -> list[rows.Row]:
    return list(rows.read(trees.Tree(folder, scratch=folder), name))


class TestBuild:
    def test_splits_labels_pixels_and_drops(self, tmp_path):
        folder, report, new = prepare(tmp_path, write(tmp_path / 'raw', lines()))
        assert new
        assert folder == tmp_path / 'out/fer2013/default/1.0.0'
        counts = {split: found['images'] for split, found in report['splits'].items()}
        assert counts == {'train': 7, 'validation': 2, 'test': 2}
        assert set(report['splits']['train']['classes'].values()) == {1}
        assert report['drops'] == {'all-black image': {'count': 1, 'examples': ['line 9']}}

        corpus = corpora.load('fer2013', 'train', data_dir=tmp_path / 'out')
        found = {record['file']: record for record in map(corpus.__getitem__, range(len(corpus)))}
        for i in range(7):
            record = found[f'fer_{i + 2}.png']
            image = np.asarray(Image.open(io.BytesIO(record['image'])))
            assert record['label'] == CANONICAL[i]
            np.testing.assert_array_equal(image, pixels(i).reshape(48, 48))

    def test_both_forms_give_the_same_rows(self, tmp_path):
        write(tmp_path / 'a', lines())
        write(tmp_path / 'b', lines('emotion, Usage, pixels'), 'icml_face_data.csv')
        first = read(tmp_path / 'a', 'fer2013.csv')
        second = read(tmp_path / 'b', 'icml_face_data.csv')
        assert [row[1:] for row in first] == [row[1:] for row in second]
        assert len(first) == 12
        _, report, _ = prepare(tmp_path, tmp_path / 'b', 'fer2013/default')
        assert report['splits']['train']['images'] == 7

    def test_as_other_programs_write_it(self, tmp_path):
        expected = read(write(tmp_path / 'a', lines()), 'fer2013.csv')
        text = '\n'.join(lines()).replace('PublicTest', 'publictest')
        raw = write(tmp_path / 'b', text.replace('\n3,', '\n3.0,').replace(',', ';').split('\n'))
        found = read(raw, 'fer2013.csv')
        assert [row.usage for row in found] == [row.usage for row in expected]
        assert [rows.parse(row) for row in found] == [rows.parse(row) for row in expected]

    def test_reads_the_archive_one_folder_deep(self, tmp_path, layouts):
        text = '\r\n'.join(lines())
        inside = {'fer2013/README': 'x', 'fer2013/fer2013.csv': '\ufeff' + text}
        layouts.pack(tmp_path / 'raw/wrap/fer2013.tar.gz', inside)
        _, report, _ = prepare(tmp_path, tmp_path / 'raw')
        assert report['splits']['train']['images'] == 7

    def test_the_csv_goes_before_the_other_form(self, tmp_path):
        raw = write(tmp_path / 'raw', lines()[:3], 'icml_face_data.csv')
        _, report, _ = prepare(tmp_path, write(raw, lines()))
        assert report['splits']['train']['images'] == 7

    def test_counts_are_those_of_the_rows(self, tmp_path):
        _, report, _ = prepare(tmp_path, write(tmp_path / 'raw', lines()))
        counts = {row['what']: tuple(row.values())[1:] for row in report['counts']}
        assert counts['rows'] == (35_887, 12, True)
        assert counts['train rows'] == (28_709, 8, True)
        assert counts['all-black rows'] == (11, 1, True)
        assert counts['rows happiness'] == (8_989, 3, True)
        assert counts['validation rows anger'] == (467, 1, False)
        for what in ('rows', *(f'{split} rows' for split in ('train', 'validation', 'test'))):
            parts = [n for key, (n, *_) in counts.items() if key.rpartition(' ')[0] == what]
            assert sum(parts) == counts[what][0]
        with pytest.raises(InputError, match=r'rows: found 12, expected 35,887'):
            prepare(tmp_path, tmp_path / 'raw', overwrite=True, strict=True)

    def test_several_processes_give_the_same(self, tmp_path):
        raw = write(tmp_path / 'raw', lines())
        folder, _, _ = prepare(tmp_path, raw)
        alone = corpora.Corpus('fer2013', 'all', folder)
        alone = [alone[i] for i in range(len(alone))]
        folder, _, _ = prepare(tmp_path, raw, overwrite=True, workers=2)
        several = corpora.Corpus('fer2013', 'all', folder)
        assert [several[i] for i in range(len(several))] == alone

    def test_a_file_with_training_rows_only_has_one_split(self, tmp_path):
        _, report, _ = prepare(tmp_path, write(tmp_path / 'raw', lines()[:8]))
        assert list(report['splits']) == ['train']

    def test_plain_tfds_decodes_to_grey(self, tmp_path):
        import tensorflow_datasets as tfds

        folder, _, _ = prepare(tmp_path, write(tmp_path / 'raw', lines()[:8]))
        source = tfds.builder_from_directory(folder).as_data_source('train')
        assert source[0]['image'].shape == (48, 48, 1)


class TestMistakes:
    @pytest.mark.parametrize(
        ('row', 'message'),
        [
            ('7,' + ' '.join(['1'] * 2304) + ',Training', 'line 2: label 7 is out of range'),
            ('happy,1 2 3,Training', "line 2: the column emotion must hold .*, not 'happy'"),
            (',1 2 3,Training', "line 2: the column emotion must hold a code 0..6, not ''"),
            ('0,1 2 3,Training', 'line 2: 3 pixels, expected 2304'),
            (
                '0,' + ' '.join(['256'] * 2304) + ',Training',
                'line 2: pixels must be numbers 0..255',
            ),
            ('0,' + ' '.join(['x'] * 2304) + ',Training', 'line 2: pixels must be numbers 0..255'),
            ('0,1 2 3,Testing', "line 2: unknown Usage 'Testing'; expected Training, PublicTest"),
            ('0,1 2 3', 'line 2: 2 cells, expected 3'),
        ],
    )
    def test_bad_row_is_named(self, tmp_path, row, message):
        with pytest.raises(InputError, match=message):
            prepare(tmp_path, write(tmp_path / 'raw', ['emotion,pixels,Usage', row]))
        assert corpora.prepared(tmp_path / 'out') == {}

    def test_missing_column_says_what_was_found(self, tmp_path):
        raw = write(tmp_path / 'raw', ['emotion,pixels', '0,1 2 3'])
        with pytest.raises(
            InputError, match=r'no column usage: expected .*, found emotion, pixels'
        ):
            prepare(tmp_path, raw)

    def test_header_alone(self, tmp_path):
        with pytest.raises(InputError, match='a header and no rows'):
            prepare(tmp_path, write(tmp_path / 'raw', lines()[:1]))

    def test_other_layout_says_what_was_found(self, tmp_path):
        raw = write(tmp_path / 'raw', ['x'], 'train.csv')
        with pytest.raises(InputError, match=r'needs fer2013\.csv, icml_face.* holds train\.csv'):
            prepare(tmp_path, raw)

    @pytest.mark.parametrize(
        ('name', 'message'),
        [
            ('train.csv', r'train\.csv has no labels of the test: icml_face_data\.csv of the same'),
            ('ckextended.csv', r'ckextended\.csv is CK\+, not FER2013, and not read: get CK\+48'),
            ('fer2013.csv.gz', r'fer2013\.csv\.gz must be unpacked'),
        ],
    )
    def test_files_that_are_taken_for_it(self, tmp_path, name, message):
        with pytest.raises(InputError, match=message):
            prepare(tmp_path, write(tmp_path / 'raw', ['x'], name))

    def test_class_folders_say_what_reads_them(self, tmp_path, layouts):
        files = {'train/angry/Training_1.jpg': None, 'test/happy/PublicTest_2.jpg': None}
        raw = layouts.plant(tmp_path / 'raw', files)
        message = (
            r'holds test/, train/\. Images in folders named after expressions, such as angry/, are '
            r'read by --corpus image_list/NAME --set labels=folders$'
        )
        with pytest.raises(InputError, match=message):
            prepare(tmp_path, raw)

    def test_damaged_archive(self, tmp_path):
        write(tmp_path / 'raw', ['no archive'], 'fer2013.tar.gz')
        with pytest.raises(InputError, match='is damaged'):
            prepare(tmp_path, tmp_path / 'raw')

    def test_archive_without_the_file(self, tmp_path, layouts):
        layouts.pack(tmp_path / 'raw/fer2013.tar.gz', {'fer2013/README': 'readme'})
        with pytest.raises(InputError, match=r'needs fer2013\.csv, icml.* holds fer2013\.tar\.gz'):
            prepare(tmp_path, tmp_path / 'raw')

    def test_only_black_images(self, tmp_path):
        raw = write(tmp_path / 'raw', [lines()[0], lines()[8]])
        with pytest.raises(InputError, match=r'0 images were found.*1 all-black image'):
            prepare(tmp_path, raw)

    def test_other_protocols_and_options_are_refused(self, tmp_path):
        with pytest.raises(InputError, match=r"no protocol 'big'; it has\n  default: train is"):
            fer2013.make_builder('big', data_dir=tmp_path)
        with pytest.raises(InputError, match="unknown option 'size'"):
            fer2013.make_builder(None, data_dir=tmp_path, size=3)


@pytest.mark.skipif(not REAL.is_dir(), reason='needs the sample of FER2013 in ../shared/data')
def test_real_rows():
    source = rows.read(trees.Tree(REAL, scratch=REAL), 'fer2013.csv')
    some = [row for row, _ in zip(source, range(200), strict=False)]
    assert {rows.parse(row)[0] for row in some} == set(range(7))
    assert some[0].line == 2
