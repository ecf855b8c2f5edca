import io

import numpy as np
import pytest
from PIL import Image

from data_builders.affectnet import files
from dmsrl_jax.data import corpora
from dmsrl_jax.errors import InputError

# canonical labels of neutral, happiness, sadness, surprise, fear, disgust, anger
CANONICAL = [6, 3, 4, 0, 1, 2, 5]
HEADER = (
    'subDirectory_filePath, face_x,face_y,face_width,face_height,facial_landmarks,expression,'
    'valence,arousal'
)
MARKS = ';'.join(f'{10 + i};{20 + 2 * i}' for i in range(68))
IMAGES = 'Manually_Annotated/Manually_Annotated_Images'
LISTS = 'Manually_Annotated_file_lists'
# extension of the picture by code: formats are mixed, and so is the case
KINDS = ['jpg', 'JPG', 'png', 'bmp', 'tif', 'jpeg', 'PNG']


def name(number, kind='jpg'):
    return f'{number % 3 + 1}/{number:056x}.{kind}'


def row(number, code, kind='jpg', box='4,6,10,20', marks=MARKS, mood='0.5,-0.25'):
    return f'{name(number, kind)},{box},{marks},{code},{mood}'


def training():
    rows = [row(i, i % 7, KINDS[i % 7]) for i in range(7)]
    rows += [row(7, 7), row(8, 8, mood='-2,-2'), row(9, 9), row(10, 10, box='NULL,NULL,NULL,NULL')]
    rows += [row(11, 1), row(0, 0), row(12, 2, box='NULL,,NULL,NULL'), row(20, 3)]
    return rows


def validation():
    return [row(20 + i, i, box='-8,-8,20,40' if i == 1 else '4,6,10,20') for i in range(7)]


def older(layouts):
    """The older release with its traps; training image 11 is missing, 20 is in both lists."""
    files_ = {
        f'{IMAGES}/{name(i, KINDS[i % 7])}': layouts.draw(
            f'{i}', size=(32, 30), kind=['JPEG', 'JPEG', 'PNG', 'BMP', 'TIFF', 'JPEG', 'PNG'][i % 7]
        )
        for i in range(7)
    }
    for i in (7, 8, 9, 10, 12, *range(20, 27)):
        files_[f'{IMAGES}/{name(i)}'] = layouts.draw(f'{i}', size=(32, 30), kind='JPEG')
    files_[f'{LISTS}/training.csv'] = '\r\n'.join([HEADER, *training(), ''])
    files_[f'{LISTS}/validation.csv'] = '\n'.join(validation())  # a copy without the header
    automatic = 'Automatically_Annotated_Images/' + name(0)
    lists = 'Automatically_Annotated_file_lists'
    files_ |= {
        automatic: None,
        f'{lists}/automatically_annotated.csv': f'{HEADER}\n{row(0, 6)}\n',
        f'{lists}/training.csv': f'{HEADER}\n{row(1, 6)}\n',
        f'{IMAGES}/1/Thumbs.db': 'x',
        f'{IMAGES}/1/._{0:056x}.jpg': 'x',
    }
    return files_


@pytest.fixture(scope='module')
def csv_form(layouts, tmp_path_factory):
    root = tmp_path_factory.mktemp('affectnet')
    layouts.plant(root / 'raw/wrap', older(layouts))
    return layouts.build('affectnet', root / 'raw', root / 'out')


class TestOlderRelease:
    def test_labels_and_splits(self, csv_form):
        assert csv_form.report['corpus'] == 'affectnet/csv'
        expected = {name(i, KINDS[i]): CANONICAL[i] for i in range(7)}
        assert csv_form.labels('train') == expected
        assert csv_form.labels('validation') == {name(20 + i): CANONICAL[i] for i in range(7)}
        assert len(corpora.load('affectnet', 'test', data_dir=csv_form.folder.parents[2])) == 7

    def test_drops(self, csv_form):
        # the last row of training is in validation, too; 'listed again' is it and image 0
        assert csv_form.drops() == {
            'label contempt': 1,
            'label none': 1,
            'label uncertain': 1,
            'label non-face': 1,
            'listed, but there is no such file': 1,
            'no box': 1,
            'listed again': 2,
        }

    def test_cut_by_the_box(self, csv_form, layouts):
        shape = layouts.pixels(csv_form.all[name(0)]).shape
        assert shape == (24, 12, 3)  # 20 and 10 pixels, a tenth more on each side
        whole = Image.open(io.BytesIO(layouts.draw('2', size=(32, 30)))).convert('RGB')
        face = layouts.pixels(csv_form.all[name(2, 'png')])
        np.testing.assert_array_equal(face, np.asarray(whole.crop((3, 4, 15, 28))))

    def test_boxes_are_clipped_to_the_picture(self, csv_form, layouts):
        assert layouts.pixels(csv_form.all[name(21)]).shape == (30, 14, 3)

    def test_formats_that_readers_do_not_know_become_png(self, csv_form):
        kinds = {
            i: Image.open(io.BytesIO(csv_form.all[name(i, KINDS[i])]['image'])).format
            for i in range(7)
        }
        assert kinds == {0: 'JPEG', 1: 'JPEG', 2: 'PNG', 3: 'PNG', 4: 'PNG', 5: 'JPEG', 6: 'PNG'}

    def test_valence_and_arousal(self, csv_form):
        record = csv_form.all[name(0)]
        assert (record['valence'], record['arousal']) == (0.5, -0.25)

    def test_counts_are_those_of_the_lists(self, csv_form):
        counts = csv_form.counts()
        assert counts['train rows'] == (15, 414_799, False)
        assert counts['train rows of the seven'] == (11, 283_901, True)
        assert counts['train rows happiness'] == (2, 134_415, True)
        assert counts['train rows contempt'] == (1, 3_750, True)
        assert counts['validation rows of the seven'] == (7, 3_500, True)
        assert counts['train images'] == (7, 283_901, False)
        certain = [n for what, (_, n, _) in counts.items() if what.startswith('train rows ')]
        assert sum(certain) == 2 * 283_901 + 3_750

    def test_whole_pictures_have_box_and_landmarks(self, layouts, tmp_path):
        from data_builders import trees
        from data_builders.affectnet import affectnet_dataset_builder as affectnet

        raw = layouts.plant(tmp_path / 'raw', older(layouts))
        builder = affectnet.make_builder('csv', data_dir=tmp_path, manual_dir=raw)
        builder.whole_pictures = True
        tree = trees.Tree(raw, scratch=tmp_path)
        item = next(item for item in builder.items(tree) if item.file == name(0))
        record = builder.example(tree, item)
        assert record['box'] == (4, 6, 14, 26)
        assert record['landmarks'][4:6] == (40, 80)  # the nose tip, point 30

    def test_corrupt_pictures(self, layouts, tmp_path):
        files_ = older(layouts) | {f'{IMAGES}/{name(22)}': b'no image'}
        raw = layouts.plant(tmp_path / 'raw', files_)
        with pytest.raises(InputError, match=rf'{22:056x}\.jpg.*on_corrupt=drop'):
            layouts.build('affectnet/csv', raw, tmp_path / 'out')
        built = layouts.build('affectnet/csv', raw, tmp_path / 'out', on_corrupt='drop')
        assert built.drops()['corrupt image'] == 1

    def test_validation_alone_from_an_archive(self, layouts, tmp_path):
        files_ = {f'Manually_Annotated_Images/{name(20 + i)}': None for i in range(7)}
        layouts.pack(tmp_path / 'raw/Manually_Annotated.zip', files_)
        text = '\n'.join([HEADER.upper(), *validation()])
        layouts.plant(tmp_path / 'raw', {'validation.csv': text})
        built = layouts.build('affectnet/csv', tmp_path / 'raw', tmp_path / 'out', margin=0)
        assert list(built.records) == ['validation']
        assert layouts.pixels(built.all[name(20)]).shape == (18, 10, 3)  # drawn 24 pixels high

    def test_both_lists_with_the_pictures_of_validation_alone(self, layouts, tmp_path):
        files_ = {k: v for k, v in older(layouts).items() if k.startswith(LISTS)}
        for i in range(20, 24):
            files_[f'{IMAGES}/{name(i)}'] = None
        raw = layouts.plant(tmp_path / 'raw', files_)
        message = r'pictures of one list \(or set\) only, move the other list away$'
        with pytest.raises(InputError, match=message):
            layouts.build('affectnet/csv', raw, tmp_path / 'out')

    def test_columns_in_another_order(self, layouts, tmp_path):
        lines = ['expression, subDirectory_filePath,' + HEADER.split(',', 1)[1]]
        for i in range(3):
            path, rest = row(i, i).split(',', 1)
            lines.append(f'{i},{path},{rest}')
        lines[0] = lines[0].replace(',expression', ',again')
        files_ = {f'Images/{name(i)}': None for i in range(3)} | {'training.csv': '\n'.join(lines)}
        raw = layouts.plant(tmp_path / 'raw', files_)
        built = layouts.build('affectnet/csv', raw, tmp_path / 'out')
        assert built.labels() == {name(i): CANONICAL[i] for i in range(3)}


class TestMistakesInLists:
    @pytest.mark.parametrize(
        ('rows', 'message'),
        [
            ([row(0, 11)], 'training.csv line 1: label 11 is out of range'),
            ([row(0, 'happy')], "line 1: expected a number, got 'happy'"),
            ([row(0, 1.5)], 'line 1: the expression must be a whole number, not 1.5'),
            ([row(0, 'inf')], 'line 1: the expression must be a whole number, not inf'),
            ([row(0, '')], 'line 1: the expression must be a whole number, not None'),
            ([row(0, 1, box='a,2,3,4')], "line 1: expected a number, got 'a'"),
            ([HEADER, row(0, 1)[:40]], r'line 2: 1 cells, expected 9; is it cut\?'),
            ([HEADER.replace(',', ';')], "1 cells, expected 9; put commas between them, not ';'"),
            ([HEADER.replace('valence', 'mood')], 'line 1: no column valence in subDirectory'),
        ],
    )
    def test_bad_rows_are_named(self, layouts, tmp_path, rows, message):
        files_ = {'training.csv': '\n'.join(rows), f'Images/{name(0)}': None}
        raw = layouts.plant(tmp_path / 'raw', files_)
        with pytest.raises(InputError, match=message):
            layouts.build('affectnet/csv', raw, tmp_path / 'out')

    @pytest.mark.parametrize(
        ('broken', 'kept'),
        [
            (row(0, 1, marks='1;x;3'), (0.5, -0.25)),
            (row(0, 1, mood='0.5,calm'), (0.5, -2.0)),
            (row(0, 1, box='a,2,3,4'), None),
        ],
    )
    def test_broken_cells_can_be_left_out(self, layouts, tmp_path, broken, kept):
        files_ = {f'Images/{name(i)}': layouts.draw(f'{i}', size=(32, 30)) for i in range(2)}
        raw = layouts.plant(tmp_path / 'raw', files_ | {'training.csv': f'{broken}\n{row(1, 1)}'})
        with pytest.raises(InputError, match=r'line 1: expected a number.*on_corrupt=drop leaves'):
            layouts.build('affectnet/csv', raw, tmp_path / 'out')
        built = layouts.build('affectnet/csv', raw, tmp_path / 'out', on_corrupt='drop')
        drops = {'count': 1, 'examples': ['training.csv line 1']}
        assert built.report['drops'] == {'corrupt file beside an image': drops}
        moods = {file: (face['valence'], face['arousal']) for file, face in built.all.items()}
        assert moods == {name(1): (0.5, -0.25), **({name(0): kept} if kept else {})}

    def test_box_outside(self, layouts, tmp_path):
        files_ = {'training.csv': row(0, 1, box='90,90,5,5'), f'Images/{name(0)}': None}
        raw = layouts.plant(tmp_path / 'raw', files_)
        with pytest.raises(InputError, match=r'the box \(90.0, 90.0, 95.0, 95.0\) lies outside'):
            layouts.build('affectnet/csv', raw, tmp_path / 'out')

    @pytest.mark.parametrize('protocol', ['csv', 'npy'])
    def test_class_folders_say_what_reads_them(self, layouts, tmp_path, protocol):
        raw = layouts.plant(tmp_path / 'raw', {'labels.csv': 'pth,label\n', 'anger/a.png': None})
        with pytest.raises(InputError, match=r'such as anger/, are read by .* labels=folders'):
            layouts.build(f'affectnet/{protocol}', raw, tmp_path / 'out')

    def test_nothing_there(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', {'a.jpg': None})
        with pytest.raises(InputError, match=r'affectnet needs Manually_Annotated_file_lists/'):
            layouts.build('affectnet/csv', raw, tmp_path / 'out')

    def test_rows_without_landmarks(self):
        assert files.landmarks(files.Row('', '', (), 'NULL', '1', '', '')) == ()
        assert files.landmarks(files.Row('', '', (), '1;2;3', '1', '', '')) == ()


def npy(value, kind=None):
    out = io.BytesIO()
    np.save(out, np.asarray(value, kind))
    return out.getvalue()


def newer():
    """The newer release: gaps in the numbers, the same numbers in both sets, text and numbers."""
    files_ = {}
    for part, numbers in {'train_set': [0, 2, 3, 5, 8, 9, 11, 13], 'val_set': [0, 2, 4]}.items():
        for i, number in enumerate(numbers):
            stem = f'{part}/annotations/{number}'
            text = part == 'train_set'
            files_ |= {
                f'{part}/images/{number}.jpg': None,
                f'{stem}_exp.npy': npy(str(i)) if text else npy(i, np.int64),
                f'{stem}_val.npy': npy('-0.5') if text else npy([0.25]),
                f'{stem}_aro.npy': npy('0.125') if text else npy(-2.0),
                f'{stem}_lnd.npy': npy(np.arange(136.0)),
            }
    return files_


@pytest.fixture(scope='module')
def npy_form(layouts, tmp_path_factory):
    root = tmp_path_factory.mktemp('affectnet')
    extra = {
        'train_set/images/40.jpg': None,  # not annotated
        'train_set/annotations/41_exp.npy': npy('1'),  # no picture
        'val_set/images/.DS_Store': 'x',
    }
    parts = newer() | extra
    del parts['val_set/annotations/4_aro.npy']
    for part in ('train_set', 'val_set'):
        inside = {key: data for key, data in parts.items() if key.startswith(part)}
        layouts.pack(root / f'raw/wrap/{part}.tar', inside)
    return layouts.build('affectnet/npy', root / 'raw', root / 'out')


class TestNewerRelease:
    def test_labels_and_splits(self, npy_form):
        numbers = [0, 2, 3, 5, 8, 9, 11]
        assert npy_form.labels('train') == {
            f'train_set/images/{n}.jpg': CANONICAL[i] for i, n in enumerate(numbers)
        }
        assert npy_form.labels('validation') == {
            'val_set/images/0.jpg': 6, 'val_set/images/2.jpg': 3, 'val_set/images/4.jpg': 4,
        }  # fmt: skip
        assert npy_form.drops() == {
            'label contempt': 1, 'no annotation': 1, 'listed, but there is no such file': 1,
        }  # fmt: skip

    @pytest.mark.parametrize('kinds', ['tar tar', 'zip zip', 'zip plain'])
    def test_archives_without_their_top_folders(self, npy_form, layouts, tmp_path, kinds):
        for part, kind in zip(('train_set', 'val_set'), kinds.split(), strict=True):
            inside = {k: v for k, v in newer().items() if k.startswith(part)}
            inside = {
                k: layouts.draw(k, kind='JPEG') if v is None else v for k, v in inside.items()
            }
            if kind == 'plain':
                layouts.plant(tmp_path / 'raw', inside)
            else:
                inside = {name.partition('/')[2]: data for name, data in inside.items()}
                layouts.pack(tmp_path / f'raw/{part}.{kind}', inside)
        built = layouts.build('affectnet/npy', tmp_path / 'raw', tmp_path / 'out')
        assert built.labels() == npy_form.labels()
        assert {f: row['image'] for f, row in built.all.items()} == {
            f: row['image'] for f, row in npy_form.all.items()
        }

    def test_copies_in_another_format(self, npy_form, layouts, tmp_path):
        files_ = {name.replace('.jpg', '.png'): data for name, data in newer().items()}
        files_['val_set/images/0.jpg'] = None
        built = layouts.build('affectnet/npy', layouts.plant(tmp_path / 'raw', files_), tmp_path)
        assert built.labels() == npy_form.labels()
        face = layouts.draw('val_set/images/0.jpg', kind='JPEG')
        assert built.all['val_set/images/0.jpg']['image'] == face

    def test_nothing_there_says_what_was_looked_for(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', {'a.txt': 'x'})
        with pytest.raises(
            InputError, match=r'no file like <part>_set/annotations/<number>_exp\.npy'
        ):
            layouts.build('affectnet/npy', raw, tmp_path / 'out')

    def test_the_same_number_in_both_sets_is_two_pictures(self, npy_form, layouts):
        for part in ('train_set', 'val_set'):
            file = f'{part}/images/2.jpg'
            assert npy_form.all[file]['image'] == layouts.draw(file, kind='JPEG')

    def test_valence_and_arousal(self, npy_form):
        moods = {
            file: (npy_form.all[file]['valence'], npy_form.all[file]['arousal'])
            for file in ('train_set/images/2.jpg', 'val_set/images/2.jpg', 'val_set/images/4.jpg')
        }
        assert list(moods.values()) == [(-0.5, 0.125), (0.25, -2.0), (0.25, -2.0)]

    def test_counts(self, npy_form):
        assert npy_form.counts()['train rows'] == (9, 287_651, False)
        assert npy_form.counts()['validation rows'] == (3, 3_999, False)

    def test_several_processes_give_the_same(self, npy_form, layouts, tmp_path):
        from data_builders import preparing

        raw = layouts.plant(tmp_path / 'raw', newer())
        options = preparing.typed_options('affectnet/npy', {})
        preparing.prepare(
            'affectnet/npy', options, data_dir=tmp_path / 'out', manual_dir=raw, workers=2
        )
        again = corpora.load('affectnet/npy', 'train', data_dir=tmp_path / 'out')
        assert {again[i]['file']: again[i]['valence'] for i in range(len(again))} == {
            file: -0.5 for file in npy_form.records['train']
        }

    @pytest.mark.parametrize(
        ('data', 'message'),
        [
            (npy([1, 2]), r'0_exp\.npy: 2 values, expected one'),
            (npy('happy'), r'0_exp\.npy: expected an array of numbers'),
            (b'', r'0_exp\.npy: expected an array of numbers'),
            (npy(0.5), r'0_exp\.npy: the expression must be a whole number, not 0\.5'),
        ],
    )
    def test_bad_arrays_are_named(self, layouts, tmp_path, data, message):
        files_ = newer() | {'train_set/annotations/0_exp.npy': data}
        raw = layouts.plant(tmp_path / 'raw', files_)
        with pytest.raises(InputError, match=message):
            layouts.build('affectnet/npy', raw, tmp_path / 'out')

    def test_a_broken_label_is_left_out_with_its_face(self, layouts, tmp_path):
        files_ = newer() | {'train_set/annotations/0_exp.npy': b''}
        raw = layouts.plant(tmp_path / 'raw', files_)
        with pytest.raises(InputError, match=r'0_exp\.npy.*on_corrupt=drop leaves it out'):
            layouts.build('affectnet/npy', raw, tmp_path / 'out')
        built = layouts.build('affectnet/npy', raw, tmp_path / 'out', on_corrupt='drop')
        assert built.drops() == {'corrupt file beside an image': 1, 'label contempt': 1}
        assert 'train_set/images/0.jpg' not in built.all

    @pytest.mark.parametrize('workers', [0, 2])
    def test_other_broken_arrays_are_left_out_alone(self, layouts, tmp_path, workers):
        from data_builders import preparing

        ends = {'0_val': b'', '2_aro': npy([1, 2]), '3_lnd': npy('x')}
        files_ = newer() | {f'train_set/annotations/{k}.npy': v for k, v in ends.items()}
        raw = layouts.plant(tmp_path / 'raw', files_)
        folders = {'data_dir': tmp_path / 'out', 'manual_dir': raw, 'workers': workers}
        options = preparing.typed_options('affectnet/npy', {})
        with pytest.raises(InputError, match=r'train_set/.*\.npy: .*on_corrupt=drop leaves it out'):
            preparing.prepare('affectnet/npy', options, **folders)
        options['on_corrupt'] = 'drop'
        _, report, _ = preparing.prepare('affectnet/npy', options, **folders)
        paths = [f'train_set/annotations/{name}.npy' for name in ends]
        assert report['drops']['corrupt file beside an image'] == {'count': 3, 'examples': paths}
        rows = corpora.load('affectnet/npy', 'train', data_dir=tmp_path / 'out')
        moods = {
            rows[i]['file']: (rows[i]['valence'], rows[i]['arousal']) for i in range(len(rows))
        }
        assert len(moods) == 7
        assert [moods[f'train_set/images/{n}.jpg'] for n in (0, 2, 3)] == [
            (-2.0, 0.125), (-0.5, -2.0), (-0.5, 0.125),
        ]  # fmt: skip

    def test_the_other_protocol_is_named(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', newer())
        with pytest.raises(InputError, match=r'for --corpus affectnet/npy; .* holds train_set/'):
            layouts.build('affectnet/csv', raw, tmp_path / 'out')


def test_aligned_faces_beside_the_owners_pictures(layouts, tmp_path):
    files_ = {name: content for name, content in older(layouts).items()}
    other = {
        name.replace(IMAGES, f'{IMAGES}_aligned'): layouts.draw('x')
        for name in files_
        if name.startswith(IMAGES)
    }
    alone = layouts.build('affectnet', layouts.plant(tmp_path / 'a', files_), tmp_path / 'out')
    both = layouts.plant(tmp_path / 'b', files_ | other)
    built = layouts.build('affectnet', both, tmp_path / 'all')
    assert {k: row['image'] for k, row in built.all.items()} == {
        k: row['image'] for k, row in alone.all.items()
    }


def test_the_rest_of_a_moved_folder(csv_form, layouts, tmp_path):
    files_ = {name.replace(f'{IMAGES}/2', 'rest/2'): data for name, data in older(layouts).items()}
    assert any(name.startswith('rest/') for name in files_)
    built = layouts.build('affectnet', layouts.plant(tmp_path / 'raw', files_), tmp_path / 'out')
    assert built.labels() == csv_form.labels()
    assert built.drops() == csv_form.drops()
