import io

import numpy as np
import pytest
from PIL import Image

from dmsrl_jax.errors import InputError

# name: code; surprise, fear, ..., neutral are 1..7
CODES = {
    'train_00001': 5, 'train_00002': 1, 'train_00004': 7, 'train_00005': 2, 'train_00006': 3,
    'train_12271': 4, 'test_0001': 6, 'test_0003': 4,
}  # fmt: skip
LABELS = {f'{name}.jpg': code - 1 for name, code in CODES.items()}
BOX = (4, 6, 14, 26)
# enlarged by a tenth of 10 and 20 pixels on each side
CUT = (3, 4, 15, 28)


def listing(end='\r\n'):
    return ''.join(f'{name}.jpg {code}{end}' for name, code in CODES.items())


def aligned(where='basic/Image/aligned/'):
    files = {f'{where}{name}_aligned.jpg': None for name in CODES}
    return files | {f'{where}Thumbs.db': 'x', f'{where}._train_00001_aligned.jpg': 'x'}


def attributes():
    points = '10.5\t11\n20\t11\n15\t15\n11\t20\n19\t20\n'
    return {'basic/Annotation/manual (1)/train_00001_manu_attri.txt': f'{points}1\n0\n2\n'}


def original(layouts, suffix='_boundingbox'):
    """Whole pictures, of which the last one has no box."""
    files = {
        f'basic/Image/original/{name}.jpg': layouts.draw(name, size=(32, 30), kind='JPEG')
        for name in CODES
    }
    files |= {
        f'basic/Annotation/boundingbox/{name}{suffix}.txt': '4 6 14.2 25.8 \n'
        for name in list(CODES)[:-1]
    }
    return files | {'basic/EmoLabel/list_patition_label.txt': listing()}


def compound():
    """The sister set: the same names with other codes."""
    return {
        'compound/EmoLabel/list_patition_label.txt': 'train_00001.jpg 11\n',
        'compound/Image/aligned/train_00001_aligned.jpg': None,
        'compound/Image/original/train_00001.jpg': None,
        'compound/Annotation/boundingbox/train_00001_boundingbox.txt': '0 0 1 1\n',
    }


def test_a_folder_around_both_sets(layouts, tmp_path):
    files = aligned() | {'basic/EmoLabel/list_patition_label.txt': listing()} | compound()
    files = {f'RAF-DB (basic+compound)/{path}': data for path, data in files.items()}
    built = layouts.build(
        'raf_db/aligned', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out'
    )
    assert built.labels('train') | built.labels('test') == LABELS


@pytest.fixture(scope='module')
def folder(layouts, tmp_path_factory):
    root = tmp_path_factory.mktemp('raf')
    shares = 'train_00001.jpg 0.1 0.2 0.3 0.4 0 0 0\n'
    files = {'EmoLabel/list_patition_label.txt': listing()}
    files |= {'EmoLabel/distribution_basic.txt': shares}
    files = {f'basic/{name}': content for name, content in files.items()}
    layouts.plant(root / 'raw/wrap', aligned() | files | attributes() | compound())
    return layouts.build('raf_db', root / 'raw', root / 'out')


def test_the_sister_set_in_an_archive_without_its_top_folder(layouts, tmp_path):
    files = aligned() | {'basic/EmoLabel/list_patition_label.txt': listing()}
    raw = layouts.plant(tmp_path / 'raw', files)
    inside = {name.partition('/')[2]: data for name, data in compound().items()}
    inside['EmoLabel/list_patition_label.txt'] = 'train_00001.jpg 1\ntrain_00003.jpg 1\n'
    layouts.pack(raw / 'compound.zip', inside)
    assert layouts.build('raf_db', raw, tmp_path / 'out').labels() == LABELS


class TestAligned:
    def test_labels_and_splits(self, folder):
        assert folder.report['corpus'] == 'raf_db/aligned'
        assert folder.labels() == LABELS
        assert set(folder.records['test']) == {'test_0001.jpg', 'test_0003.jpg'}
        assert folder.drops() == {}

    def test_the_picture_is_the_file(self, folder, layouts):
        name = 'basic/Image/aligned/test_0003_aligned.jpg'
        assert folder.all['test_0003.jpg']['image'] == layouts.draw(name, kind='JPEG')

    def test_owners_attributes(self, folder):
        row, other = folder.all['train_00001.jpg'], folder.all['train_00002.jpg']
        assert [row[key] for key in ('gender', 'race', 'age')] == [1, 0, 2]
        assert [other[key] for key in ('gender', 'race', 'age')] == [-1, -1, -1]
        np.testing.assert_allclose(row['distribution'], [0.1, 0.2, 0.3, 0.4, 0, 0, 0], rtol=1e-6)
        assert not other['distribution'].any()

    def test_counts(self, folder):
        counts = folder.counts()
        assert counts['train images'] == (6, 12271, True)
        assert counts['train happiness'] == (1, 4772, True)
        assert counts['test anger'] == (1, 162, False)
        assert counts['listed images'] == (8, 15339, True)
        assert sum(n for what, (_, n, _) in counts.items() if what.split()[1] != 'images') == 15339

    def test_zip_without_the_upper_folders(self, folder, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', {'EmoLabel/list_patition_label.txt': listing('\n')})
        layouts.pack(raw / 'Image/aligned.zip', aligned('aligned/'))
        assert layouts.build('raf_db', raw, tmp_path / 'out').labels() == LABELS

    def test_class_folders_without_a_list(self, layouts, tmp_path):
        files = {
            f'DATASET/{name.split("_")[0]}/{code}/{name}_aligned.jpg': None
            for name, code in CODES.items()
        }
        raw = layouts.plant(tmp_path / 'raw', files | {'train_labels.csv': 'image,label\n'})
        assert layouts.build('raf_db/aligned', raw, tmp_path / 'out').labels() == LABELS

    @pytest.mark.parametrize(
        ('old', 'new'), [('.jpg', '_aligned.jpg'), ('.jpg', ''), (' ', ','), (' ', ', ')]
    )
    def test_other_forms_of_the_list(self, layouts, tmp_path, old, new):
        listed = listing().replace(old, new)
        files = aligned() | {'basic/EmoLabel/list_patition_label.txt': listed}
        built = layouts.build('raf_db', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
        assert built.labels() == LABELS

    @pytest.mark.parametrize('end', ['_aligned.png', '_aligned.jpeg', '.jpg', '.png'])
    def test_copies_in_other_forms(self, layouts, tmp_path, end):
        copies = {f'basic/Image/aligned/{name}{end}': None for name in CODES}
        copies['basic/EmoLabel/list_patition_label.txt'] = listing()
        raw = layouts.plant(tmp_path / 'raw', copies)
        assert layouts.build('raf_db', raw, tmp_path / 'out').labels() == LABELS
        name = 'basic/Image/aligned/test_0003_aligned.jpg'
        layouts.plant(raw, {name: None})
        built = layouts.build('raf_db', raw, tmp_path / 'out')
        assert built.all['test_0003.jpg']['image'] == layouts.draw(name, kind='JPEG')

    @pytest.mark.parametrize('absent', ['train', 'test'])
    def test_one_split_with_the_list_of_both(self, layouts, tmp_path, absent):
        files = {name: data for name, data in aligned().items() if absent not in name}
        files |= {'basic/EmoLabel/list_patition_label.txt': listing()}
        built = layouts.build('raf_db', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
        assert built.labels() == {k: code for k, code in LABELS.items() if absent not in k}
        assert built.drops() == {
            f'no image of {absent} is there': 6 if absent == 'train' else 2,
        }

    def test_missing_images(self, layouts, tmp_path):
        files = aligned() | {'basic/EmoLabel/list_patition_label.txt': listing()}
        del files['basic/Image/aligned/train_00004_aligned.jpg']
        built = layouts.build('raf_db', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
        assert built.report['drops'] == {
            'listed, but there is no such file': {'count': 1, 'examples': ['train_00004.jpg']}
        }
        assert len(built.all) == 7


class TestOriginal:
    @pytest.mark.parametrize('suffix', ['_boundingbox', ''])
    def test_cut_by_the_box(self, layouts, tmp_path, suffix):
        files = original(layouts, suffix) | compound() | attributes()
        raw = layouts.plant(tmp_path / 'raw', files)
        built = layouts.build('raf_db/original', raw, tmp_path / 'out')
        assert built.labels() == {name: LABELS[name] for name in list(LABELS)[:-1]}
        assert built.drops() == {'no box': 1}
        whole = Image.open(io.BytesIO(files['basic/Image/original/train_00001.jpg']))
        expected = np.asarray(whole.convert('RGB').crop(CUT)).astype(int)
        face = layouts.pixels(built.all['train_00001.jpg']).astype(int)
        assert face.shape == (24, 12, 3)
        assert np.abs(face - expected).mean() < 3  # compressed once more

    def test_the_owners_boxes_go_first(self, layouts, tmp_path):
        files = original(layouts) | {'boundingbox_mtcnn/train_00001.txt': '1 1 5 5'}
        raw = layouts.plant(tmp_path / 'raw', files)
        built = layouts.build('raf_db/original', raw, tmp_path / 'out', margin=0)
        assert layouts.pixels(built.all['train_00001.jpg']).shape == (20, 10, 3)

    def test_margin(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', original(layouts))
        built = layouts.build('raf_db/original', raw, tmp_path / 'out', margin=0)
        assert layouts.pixels(built.all['train_00001.jpg']).shape == (20, 10, 3)

    def test_boxes_outside_are_an_error_or_dropped(self, layouts, tmp_path):
        files = original(layouts)
        files['basic/Annotation/boundingbox/train_00002_boundingbox.txt'] = '90 90 99 99'
        raw = layouts.plant(tmp_path / 'raw', files)
        with pytest.raises(InputError, match=r'train_00002\.jpg: the box .* lies outside'):
            layouts.build('raf_db/original', raw, tmp_path / 'out')
        built = layouts.build('raf_db/original', raw, tmp_path / 'out', on_corrupt='drop')
        assert built.drops() == {'no box': 1, 'corrupt image': 1}


class TestBrokenFilesBesideImages:
    """With `on_corrupt=drop` an image without its box goes, and one without the rest stays."""

    def built(self, layouts, tmp_path, name, content):
        raw = layouts.plant(tmp_path / 'raw', original(layouts) | {f'basic/{name}': content})
        with pytest.raises(InputError, match=r'on_corrupt=drop leaves it out'):
            layouts.build('raf_db/original', raw, tmp_path / 'out')
        made = layouts.build('raf_db/original', raw, tmp_path / 'out', on_corrupt='drop')
        assert made.drops() == {'no box': 1, 'corrupt file beside an image': 1}
        return made

    @pytest.mark.parametrize('content', ['', '4,6,14,26', b'\xff\xfe'])
    def test_box(self, layouts, tmp_path, content):
        name = 'Annotation/boundingbox/train_00001_boundingbox.txt'
        made = self.built(layouts, tmp_path, name, content)
        assert made.labels() == {name: LABELS[name] for name in list(LABELS)[1:-1]}

    @pytest.mark.parametrize('content', ['1 2 3', '1 ' * 12 + '3e9', ''])
    def test_attributes(self, layouts, tmp_path, content):
        name = 'Annotation/manual/train_00001_manu_attri.txt'
        row = self.built(layouts, tmp_path, name, content).all['train_00001.jpg']
        assert [row[key] for key in ('gender', 'race', 'age')] == [-1, -1, -1]

    def test_distribution(self, layouts, tmp_path):
        lines = 'train_00001.jpg 1 0 0 0 0 0 x\ntrain_00002.jpg 1 0 0 0 0 0 0\n'
        made = self.built(layouts, tmp_path, 'EmoLabel/distribution_basic.txt', lines)
        assert not made.all['train_00001.jpg']['distribution'].any()
        assert made.all['train_00002.jpg']['distribution'].tolist() == [1, 0, 0, 0, 0, 0, 0]

    def test_a_byte_order_mark_is_forgiven(self, layouts, tmp_path):
        files = original(layouts)
        files['basic/Annotation/boundingbox/train_00001_boundingbox.txt'] = '\ufeff4 6 14 26\r\n'
        raw = layouts.plant(tmp_path / 'raw', files)
        built = layouts.build('raf_db/original', raw, tmp_path / 'out')
        assert layouts.pixels(built.all['train_00001.jpg']).shape == (24, 12, 3)


class TestMistakes:
    @pytest.mark.parametrize(
        ('name', 'content', 'message'),
        [
            (
                'EmoLabel/list_patition_label.txt',
                'train_00001.jpg\n',
                'line 1: expected `name code`',
            ),
            ('EmoLabel/list_patition_label.txt', 'train_00001.jpg 8\n', 'label 8 is out of range'),
            (
                'Annotation/boundingbox/train_00001_boundingbox.txt',
                '1 2 3',
                'expected four numbers',
            ),
            ('Annotation/manual/train_00001_manu_attri.txt', '1 2 3 4', '4 numbers, expected'),
            ('Annotation/manual/train_00001_manu_attri.txt', '1 ' * 12 + 'nan', 'nan is no code'),
            ('Annotation/manual/train_00001_manu_attri.txt', '1 ' * 12 + '3e9', '3e.09 is no code'),
            ('Annotation/manual/train_00001_manu_attri.txt', '1 ' * 12 + 'x', 'not numbers'),
            ('EmoLabel/distribution_basic.txt', 'a.jpg 1 2 3 4 5 6 x', 'line 1: not numbers'),
        ],
    )
    def test_bad_file_is_named(self, layouts, tmp_path, name, content, message):
        raw = layouts.plant(tmp_path / 'raw', original(layouts) | {f'basic/{name}': content})
        with pytest.raises(InputError, match=message) as error:
            layouts.build('raf_db/original', raw, tmp_path / 'out')
        assert name.split('/')[-1].split('_manu')[0][:11] in str(error.value)

    def test_most_images_missing(self, layouts, tmp_path):
        files = {
            'basic/EmoLabel/list_patition_label.txt': listing(),
            'a/test_0001_aligned.jpg': None,
        }
        raw = layouts.plant(tmp_path / 'raw', files)
        message = (
            '1 images were found and 7 are listed, but not there, the first of them '
            r'train_00001\.jpg; files like train_00001_aligned\.jpg were looked for in all folders'
        )
        with pytest.raises(InputError, match=message):
            layouts.build('raf_db', raw, tmp_path / 'out')

    def test_the_list_is_missing(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', aligned())
        with pytest.raises(
            InputError, match=r'the list EmoLabel/list_patition_label\.txt is missing'
        ):
            layouts.build('raf_db', raw, tmp_path / 'out')

    def test_the_lists_of_a_copy(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', aligned() | {'train_labels.csv': 'image,label'})
        with pytest.raises(InputError, match=r'image_list/NAME --set list=train_labels\.csv '):
            layouts.build('raf_db', raw, tmp_path / 'out')

    @pytest.mark.parametrize('protocol', ['aligned', 'original'])
    def test_folders_with_names_say_what_reads_them(self, layouts, tmp_path, protocol):
        files = {'DATASET/train/happiness/train_00001_aligned.jpg': None, 'a/train_1.jpg': None}
        raw = layouts.plant(tmp_path / 'raw', files)
        with pytest.raises(InputError, match=r'such as happiness/, are read by .* labels=folders'):
            layouts.build(f'raf_db/{protocol}', raw, tmp_path / 'out')

    def test_other_folder(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', {'holiday.jpg': None})
        with pytest.raises(InputError, match=r'needs the folder basic/ .* holds holiday\.jpg'):
            layouts.build('raf_db', raw, tmp_path / 'out')

    def test_unknown_protocol_lists_the_known_ones(self, tmp_path, layouts):
        with pytest.raises(
            InputError, match=r"no protocol 'whole'; it has\n  aligned: the owners'"
        ):
            layouts.build('raf_db/whole', tmp_path, tmp_path / 'out')


def test_aligned_faces_beside_whole_pictures_of_the_same_names(layouts, tmp_path):
    files = original(layouts) | {f'basic/Image/aligned/{name}.jpg': None for name in CODES}
    built = layouts.build(
        'raf_db/original', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out'
    )
    alone = layouts.plant(tmp_path / 'alone', original(layouts))
    expected = layouts.build('raf_db/original', alone, tmp_path / 'other')
    assert {k: row['image'] for k, row in built.all.items()} == {
        k: row['image'] for k, row in expected.all.items()
    }


def test_two_different_faces_of_one_name_are_refused(layouts, tmp_path):
    files = aligned() | aligned('basic/masked/')
    files['basic/EmoLabel/list_patition_label.txt'] = listing()
    raw = layouts.plant(tmp_path / 'raw', files)
    with pytest.raises(InputError, match=r'Image/aligned/test_0001_aligned\.jpg in .* have one na'):
        layouts.build('raf_db', raw, tmp_path / 'out')


def test_class_folders_counted_from_0_are_refused(layouts, tmp_path):
    names = [f'train/{code}/train_0000{code}_aligned.jpg' for code in range(7)]
    raw = layouts.plant(tmp_path / 'raw', dict.fromkeys(names))
    with pytest.raises(InputError, match=r'0/train_00000_aligned\.jpg: .*label 0'):
        layouts.build('raf_db', raw, tmp_path / 'out')


def test_faces_of_no_list_are_counted(layouts, tmp_path):
    files = aligned() | {'basic/EmoLabel/list_patition_label.txt': listing()}
    files['basic/Image/aligned/train_00003_aligned.jpg'] = None
    built = layouts.build('raf_db', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert built.labels() == LABELS
    assert built.drops() == {'not listed': 1}


@pytest.mark.parametrize('folder', ['compound', 'RAF-compound', 'Compound (1)'])
def test_the_sister_set_under_other_names(layouts, tmp_path, folder):
    sister = {name.replace('compound', folder, 1): text for name, text in compound().items()}
    files = aligned('RAF/basic/') | {'RAF/basic/EmoLabel/list_patition_label.txt': listing()}
    built = layouts.build('raf_db', layouts.plant(tmp_path / 'raw', files | sister), tmp_path / 'o')
    assert built.labels() == LABELS


def test_two_lists_that_differ_are_refused(layouts, tmp_path):
    owners = 'basic/EmoLabel/list_patition_label.txt'
    other = 'basic/EmoLabel/list_partition_label.txt'
    raw = layouts.plant(tmp_path / 'raw', aligned() | {owners: listing(), other: listing('\n')})
    assert layouts.build('raf_db', raw, tmp_path / 'out').labels() == LABELS
    layouts.plant(raw, {other: listing().replace(' 5', ' 6')})
    with pytest.raises(InputError, match=f'{other} and {owners} are both lists'):
        layouts.build('raf_db', raw, tmp_path / 'out')
