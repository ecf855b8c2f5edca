import io
import pathlib

import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data_builders import common, preparing
from data_builders.image_list import agreement, found, lists
from data_builders.image_list import image_list_dataset_builder as image_list
from data_builders.synthetic_faces.render import render_encoded
from dmsrl_jax.data import corpora
from dmsrl_jax.errors import InputError
from experiments import prepare_text

REAL = pathlib.Path(__file__).parents[2].parent / 'shared' / 'data' / 'muxspace'
DEFAULTS = {name: default for name, (_, default, _) in image_list.options().items()}


def picture(seed: int, kind: str = 'PNG') -> bytes:
    out = io.BytesIO()
    face, _ = render_encoded(seed % 7, 'studio', size=32, subject_seed=seed, sample_seed=0)
    Image.open(io.BytesIO(face)).save(out, kind)
    return out.getvalue()


def folder(root, names, text, list_name='list.csv', images='images'):
    root.mkdir()
    for i, name in enumerate(names):
        path = root / images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    (root / list_name).write_text(text)
    return root


def prepare(tmp_path, raw, config='x', **options):
    return preparing.prepare(
        f'image_list/{config}', DEFAULTS | options, data_dir=tmp_path / 'out', manual_dir=raw
    )


def read(tmp_path, text, name='list.csv', **options):
    (tmp_path / name).write_text(text)
    return lists.read(tmp_path / name, DEFAULTS | options)


class TestLists:
    def test_csv_with_synonyms_and_any_case(self, tmp_path):
        rows = ['1,a.png,HAPPINESS', '1,b.png,angry', '', '1, c.png ,Sad', '1,d.png,contempt']
        text = '\n'.join(['user,image,emotion', *rows])
        entries = read(tmp_path, text)
        assert [(e.line, e.path, e.label) for e in entries] == [
            (2, 'a.png', 3), (3, 'b.png', 5), (5, 'c.png', 4), (6, 'd.png', None),
        ]  # fmt: skip

    @pytest.mark.parametrize('delimiter', [',', ';', '\t'])
    def test_delimiters_quotes_and_byte_order_mark(self, tmp_path, delimiter):
        header, row = ['"Label"', '"File"', 'x'], ['"fear"', r'"a\b.png"', '']
        text = '\ufeff' + delimiter.join(header) + '\r\n' + delimiter.join(row) + '\r\n'
        (entry,) = read(tmp_path, text)
        assert (entry.path, entry.label) == ('a/b.png', 1)

    def test_lines_of_path_and_code(self, tmp_path):
        text = 'train_00001.jpg 5\n  with blank.jpg\t7 \r\n\n'
        entries = read(tmp_path, text, 'list.txt', codes='raf')
        assert [(e.path, e.label) for e in entries] == [
            ('train_00001.jpg', 4),
            ('with blank.jpg', 6),
        ]

    def test_lines_in_a_file_called_csv(self, tmp_path):
        (entry,) = read(tmp_path, 'a.jpg 0\n', codes='alphabetical')
        assert entry.label == 5

    @pytest.mark.parametrize(
        ('name', 'text'),
        [
            ('list.csv', '"image", "label"\n"a b.png", "fear"\n'),
            ('list.csv', 'sep=;\r\nimage;label\r\na b.png;fear\r\n'),
            ('list.csv', 'image,label\na b.png,1.0\n'),
            ('list.txt', 'a b.png, fear\n'),
            ('list.txt', 'a b.png;1\n'),
            ('list.txt', '\nimage label\na b.png fear\n'),
        ],
    )
    @pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
    def test_forms(self, tmp_path, name, text, encoding):
        (tmp_path / name).write_bytes(text.encode(encoding))
        (entry,) = lists.read(tmp_path / name, DEFAULTS)
        assert (entry.path, entry.label) == ('a b.png', 1)
        assert entry.line == len(text.splitlines())

    @pytest.mark.parametrize(
        ('codes', 'label'), [('canonical', 1), ('raf', 0), ('fer2013', 2), ('affectnet', 3)]
    )
    def test_codes_in_a_csv(self, tmp_path, codes, label):
        (entry,) = read(tmp_path, 'path,class\na.png,1\n', codes=codes)
        assert entry.label == label

    def test_named_columns(self, tmp_path):
        text = 'image,pic,emotion,mood,who\nx,a.png,?,joy,ann\n'
        options = {'path_column': 'pic', 'label_column': 'Mood', 'subject_column': 'who'}
        (entry,) = read(tmp_path, text, **options)
        assert (entry.path, entry.label, entry.subject) == ('a.png', 3, 'ann')

    @pytest.mark.parametrize(
        'header', ['image,label,expression', 'image,emotion,class', 'ImageName,Class,ClassName']
    )
    def test_words_count_where_numbers_stand_beside_them(self, tmp_path, header):
        entries = read(tmp_path, f'{header}\na.png,0,anger\nb.png,3,Happy\nc.png,7,contempt\n')
        assert [e.label for e in entries] == [5, 3, None]

    @pytest.mark.parametrize(
        'rows', ['a.png,0,anger\nb.png,0,fear', 'a.png,0,1', 'a.png,anger,fear']
    )
    def test_columns_of_labels_that_do_not_agree(self, tmp_path, rows):
        message = r'several columns .* emotion and class, .*--set label_column=NAME'
        with pytest.raises(InputError, match=message):
            read(tmp_path, f'image,emotion,class\n{rows}\n')

    @pytest.mark.parametrize('header', ['image,label,name', 'image,class,emotion_text'])
    def test_words_count_whatever_their_column_is_called(self, tmp_path, header):
        entries = read(tmp_path, f'{header}\na.png,0,anger\nb.png,3,happy\n')
        assert [entry.label for entry in entries] == [5, 3]
        message = 'several columns that may be the label'
        with pytest.raises(InputError, match=message):
            read(tmp_path, f'{header}\na.png,0,anger\nb.png,0,happy\n')

    def test_a_column_without_expressions_is_passed_over(self, tmp_path):
        (entry,) = read(tmp_path, 'image,class,emotion\na.png,adult,3\n')
        assert entry.label == 3

    @pytest.mark.parametrize('empty', ['', 'nan', 'NULL'])
    def test_a_label_that_is_missing_is_none(self, tmp_path, empty):
        entries = read(tmp_path, f'image,label\na.png,fear\nb.png,{empty}\n')
        assert [(entry.label, entry.word) for entry in entries] == [(1, 'fear'), (None, 'none')]

    @pytest.mark.parametrize('header', ['name,img_path,label', 'image,image_path,label'])
    def test_the_column_that_says_path_goes_before_others(self, tmp_path, header):
        (entry,) = read(tmp_path, f'{header}\nAnn,a.png,fear\n')
        assert entry.path == 'a.png'

    @pytest.mark.parametrize(
        ('text', 'options', 'message'),
        [
            ('image,emotion\na.png,fear\nb.png,bored\n', {}, "line 3: unknown .*'bored'"),
            ('image,emotion\na.png,7\n', {}, 'line 2: label 7 is out of range; .*0 surprise'),
            ('image,emotion\na.png,0\n', {'codes': 'raf'}, 'line 2: label 0 .*1 surprise'),
            ('image,emotion\na.png,-1\n', {}, 'line 2: label -1 is out of range'),
            ('image,emotion\na.png\n', {}, 'line 2: 1 cells, the header has 2'),
            (
                'image,mood\na.png,fear\n',
                {},
                "no column one of emotion, .*'image, mood'.*label_col",
            ),
            ('a,b\na.png,fear\n', {}, 'no column one of image_path, .*path_column'),
            (
                'a.PNG,fear\nb.png,sad\n',
                {},
                r"list\.csv has no header: its first line, 'a\.PNG, fear', is that of an image",
            ),
            ('image,emotion\na.png,fear\n', {'path_column': 'pic'}, "no column 'pic'"),
            ('image,emotion\na.png,fear\n', {'subject_column': 'who'}, "no column 'who'"),
            ('image,emotion\n', {}, 'names no image'),
            ('image,emotion,label\n', {}, 'names no image'),
            ('', {}, 'names no image'),
            ('a.png\n', {}, 'line 1: expected `path label`'),
            ('fear a.png\n', {}, r"line 1: 'a\.png' stands where .* `path label`, the path first"),
        ],
    )
    def test_mistakes_name_the_line(self, tmp_path, text, options, message):
        with pytest.raises(InputError, match=message):
            read(tmp_path, text, **options)

    def test_binary_file(self, tmp_path):
        (tmp_path / 'list.csv').write_bytes(b'\x89PNG\x00\xfc')
        with pytest.raises(InputError, match=r'not a text file in UTF-8 .*: save it as UTF-8'):
            lists.read(tmp_path / 'list.csv', DEFAULTS)


class TestFindList:
    def test_finds_the_only_one(self, tmp_path):
        (tmp_path / 'wrap').mkdir()
        for name in ('wrap/RAFlist.txt', 'wrap/readme.txt', 'wrap/._x.csv'):
            (tmp_path / name).touch()
        assert lists.find_list(tmp_path, '') == tmp_path / 'wrap/RAFlist.txt'

    def test_several_are_named(self, tmp_path):
        for name in ('a.csv', 'b.csv'):
            (tmp_path / name).touch()
        with pytest.raises(InputError, match=r'several lists found: a\.csv, b\.csv; .*list=FILE'):
            lists.find_list(tmp_path, '')
        assert lists.find_list(tmp_path, 'b.csv') == tmp_path / 'b.csv'

    def test_none_says_what_was_found(self, tmp_path):
        (tmp_path / 'notes.txt').touch()
        with pytest.raises(InputError, match=r'no list found .*holds notes\.txt'):
            lists.find_list(tmp_path, '')
        with pytest.raises(InputError, match=r'list=x\.csv: no such file; .*notes\.txt'):
            lists.find_list(tmp_path, 'x.csv')


class TestAgreement:
    def check(self, tmp_path, text, codes='canonical'):
        agreement.check(read(tmp_path, text, 'list.txt', codes=codes), codes, tmp_path / 'list.txt')

    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            ('x/anger/1.png 0\nx/fear/2.png 2\n', '--set codes=alphabetical or .*fer2013 fits'),
            ('x/anger/1.png 0\nx/sad/2.png 1\n', 'no order of codes fits .* write names'),
        ],
    )
    def test_numbers_that_folders_contradict(self, tmp_path, text, message):
        start = r'list\.txt: 0 means surprise with codes=canonical, .* named after anger; '
        with pytest.raises(InputError, match=start + message):
            self.check(tmp_path, text)

    @pytest.mark.parametrize(
        'text',
        [
            'anger/1.png 0\nfear/2.png 2\n',
            'anger/1.png 0\nanger/2.png 0\nfear/3.png 0\n',
            'fear/sad/1.png 0\nAN/2.png 5\n3/2.png 4\nfear/3.png happy\n',
        ],
    )
    def test_others_pass(self, tmp_path, text):
        self.check(tmp_path, text, 'fer2013')


class TestBuild:
    def test_every_drop_is_counted(self, tmp_path):
        names = ['a.png', 'b.png', 'c.png', 'd.png', 'e.png', 'f.png']
        text = (
            'image,emotion\na.png,happy\na.png,Happiness\nb.png,fear\nb.png,anger\n'
            'c.png,contempt\nd.png,sad\nmissing.png,sad\ne.png,neutral\n./d.png,sad\n'
            'f.png,surprise\nf.png,contempt\n'
        )
        raw = folder(tmp_path / 'raw', names, text)
        (raw / 'images' / 'd.png').write_bytes((raw / 'images' / 'e.png').read_bytes())
        _, report, _ = prepare(tmp_path, raw, test_fraction=0.0)
        counts = {reason: drop['count'] for reason, drop in report['drops'].items()}
        assert counts == {
            'listed again with the same label': 2,
            'listed with different labels': 4,
            'label contempt': 1,
            'listed, but there is no such file': 1,
            'same picture as another file with other labels': 2,
        }
        assert report['splits']['train']['images'] == 1
        assert report['splits']['train']['classes']['happiness'] == 1

    @pytest.mark.parametrize('labels', ['list', 'folders'])
    def test_says_what_numbers_were_taken_for(self, tmp_path, labels):
        text = 'images/3/a.png 3\nimages/0/b.png 0\n'
        raw = folder(tmp_path / 'raw', ['3/a.png', '0/b.png'], text, 'list.txt')
        _, report, _ = prepare(tmp_path, raw, labels=labels, codes='fer2013')
        assert report['label_note'] == (
            'numbers read as codes=fer2013: 0 anger, 1 disgust, 2 fear, 3 happiness, 4 sadness, '
            '5 surprise, 6 neutral (--set codes=NAME for others)'
        )
        table = prepare_text.summary(tmp_path, report)
        assert f'\nlabels: {report["label_note"]}\n' in table

    def test_names_need_no_note(self, tmp_path):
        raw = folder(tmp_path / 'raw', ['a.png'], 'path,label\na.png,anger\n')
        _, report, _ = prepare(tmp_path, raw)
        assert report['label_note'] == ''
        assert 'labels:' not in prepare_text.summary(tmp_path, report)

    def test_same_picture_same_label_is_kept_once(self, tmp_path):
        raw = folder(tmp_path / 'raw', ['a.png'], 'image,emotion\na.png,fear\nb.png,fear\n')
        (raw / 'images/b.png').write_bytes((raw / 'images/a.png').read_bytes())
        _, report, _ = prepare(tmp_path, raw, test_fraction=0.0)
        reason = 'same picture as another file with the same label'
        assert report['drops'] == {reason: {'count': 1, 'examples': ['b.png']}}

    def test_jpeg_bytes_are_stored_as_they_are_and_bmp_becomes_png(self, tmp_path):
        raw = folder(tmp_path / 'raw', [], 'a.jpg 3\nb.bmp 5\n', 'list.txt')
        (raw / 'a.jpg').write_bytes(picture(1, 'JPEG'))
        (raw / 'b.bmp').write_bytes(picture(2, 'BMP'))
        prepare(tmp_path, raw, test_fraction=0.0)
        corpus = corpora.load('image_list/x', 'all', data_dir=tmp_path / 'out')
        images = {record['file']: record['image'] for record in (corpus[0], corpus[1])}
        assert images['a.jpg'] == picture(1, 'JPEG')
        assert Image.open(io.BytesIO(images['b.bmp'])).format == 'PNG'

    def test_split_follows_the_hash(self, tmp_path):
        names = [f'{i}.png' for i in range(40)]
        text = ''.join(f'{name} {i % 7}\n' for i, name in enumerate(names))
        raw = folder(tmp_path / 'raw', names, text, 'list.txt')
        prepare(tmp_path, raw, test_fraction=0.3, split_seed=5)
        corpus = corpora.load('image_list/x', 'test', data_dir=tmp_path / 'out')
        files = {corpus[i]['file'] for i in range(len(corpus))}
        assert files == {name for name in names if common.hash_fraction(name, 5) < 0.3}

    @pytest.mark.parametrize('by', ['pattern', 'column'])
    def test_no_person_is_in_both_splits(self, tmp_path, by):
        names = [f'p{person}_{i}.png' for person in range(12) for i in range(3)]
        text = 'image,emotion,who\n' + ''.join(f'{n},fear,{n.split("_")[0]}\n' for n in names)
        raw = folder(tmp_path / 'raw', names, text)
        option = {'subject_pattern': r'^(p\d+)_'} if by == 'pattern' else {'subject_column': 'who'}
        prepare(tmp_path, raw, test_fraction=0.5, **option)
        people = {}
        for split in ('train', 'test'):
            corpus = corpora.load('image_list/x', split, data_dir=tmp_path / 'out')
            people[split] = {corpus[i]['subject'] for i in range(len(corpus))}
            assert all(len(person) in (2, 3) for person in people[split])
        assert not people['train'] & people['test']
        assert people['train'] | people['test'] == {f'p{person}' for person in range(12)}

    @pytest.mark.parametrize('images', ['', 'images', 'faces'])
    def test_image_folder_is_found(self, tmp_path, images):
        raw = folder(tmp_path / 'raw', ['s/a.png'], 's/a.png 3\n', 'list.txt', images)
        _, report, _ = prepare(tmp_path, raw, test_fraction=0.0)
        assert report['splits']['train']['images'] == 1

    def test_named_image_folder(self, tmp_path):
        raw = folder(tmp_path / 'raw', ['a.png'], 'a.png 3\n', 'list.txt', 'x/faces')
        (raw / 'y').mkdir()
        with pytest.raises(InputError, match=r'1 of 1 images .* missing.*images=DIR'):
            prepare(tmp_path, raw)
        with pytest.raises(InputError, match=r'images=faces: no such folder; .*x/, y/'):
            prepare(tmp_path, raw, images='faces')
        _, report, _ = prepare(tmp_path, raw, images='x/faces')
        assert sum(found['images'] for found in report['splits'].values()) == 1

    def test_different_images_of_one_path_are_refused(self, tmp_path):
        raw = folder(tmp_path / 'raw', ['a.png'], 'a.png 3\n', 'list.txt')
        (raw / 'a.png').write_bytes(picture(1))
        message = (
            rf'raw/a\.png or .*images/a\.png, and they differ: .*images={raw} or .*={raw}/images'
        )
        with pytest.raises(InputError, match=message):
            prepare(tmp_path, raw)
        _, report, _ = prepare(tmp_path, raw, 'y', images=str(raw / 'images'))
        assert report['splits']['train']['images'] == 1
        (raw / 'a.png').write_bytes((raw / 'images/a.png').read_bytes())
        _, report, _ = prepare(tmp_path, raw)
        assert report['splits']['train']['images'] == 1

    @pytest.mark.parametrize(
        ('listed', 'name'),
        [('Zo\u00eb.png', 'Zoe\u0308.png'), ('S/A.PNG', 's/a.png'), ('s/a', 'S/a.png')],
    )
    def test_names_that_are_written_otherwise(self, tmp_path, listed, name):
        raw = folder(tmp_path / 'raw', [name], f'path,label\n{listed},fear\n')
        prepare(tmp_path, raw, test_fraction=0.0)
        corpus = corpora.load('image_list/x', 'train', data_dir=tmp_path / 'out')
        assert (corpus[0]['file'], corpus[0]['image']) == (listed, picture(0))

    def test_a_name_that_two_files_nearly_have(self, tmp_path):
        raw = folder(tmp_path / 'raw', ['a.png', 'a.jpg'], 'path,label\nA,fear\n')
        with pytest.raises(InputError, match=r'a\.\w+ or .*a\.\w+, and they differ: write in the'):
            prepare(tmp_path, raw)

    def test_builds_through_the_library_alone(self, tmp_path):
        """As `tfds build` does: no options, its own manual folder."""
        raw = folder(tmp_path / 'raw', ['a.png', 'b.png'], 'a.png 3\nb.png 4\n', 'list.txt')
        builder = image_list.Builder(data_dir=str(tmp_path / 'out'))
        config = tfds.download.DownloadConfig(manual_dir=str(raw))
        builder.download_and_prepare(download_config=config)
        assert (builder.name, builder.info.file_format.value) == ('image_list', 'array_record')
        corpus = corpora.load('image_list', 'all', data_dir=tmp_path / 'out')
        assert sorted(corpus.labels().tolist()) == [3, 4]


class TestSplits:
    """Of a list that has some."""

    ROWS = 'path,label,{}\n1.png,fear,Training\n2.png,sad,PublicTest\n3.png,fear,PrivateTest\n'

    @pytest.mark.parametrize('column', ['split', 'Usage', 'subset'])
    def test_a_column(self, layouts, tmp_path, column):
        files = dict.fromkeys(('1.png', '2.png', '3.png')) | {'list.csv': self.ROWS.format(column)}
        built = layouts.build(
            'image_list/x', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out'
        )
        assert {split: list(rows) for split, rows in built.records.items()} == {
            'train': ['1.png'], 'validation': ['2.png'], 'test': ['3.png'],
        }  # fmt: skip
        assert built.report['split_note'] == (
            'named by the list: PrivateTest as test, PublicTest as validation, Training as train'
        )
        table = prepare_text.summary(tmp_path, built.report)
        assert f'\nsplit: {built.report["split_note"]}\n' in table

    def test_folders_in_the_paths(self, layouts, tmp_path):
        files = {'train/1.png': None, 'test/2.png': None}
        files['list.txt'] = ''.join(f'{name} happy\n' for name in files)
        built = layouts.build(
            'image_list/x', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out'
        )
        assert built.labels('train') == {'train/1.png': 3}
        assert built.labels('test') == {'test/2.png': 3}
        assert built.report['split_note'] == 'named by folders: test, train'

    def test_one_folder_of_all_images_leaves_some_to_test_on(self, layouts, tmp_path):
        files = dict.fromkeys(f'train/{n}.png' for n in range(12))
        files['list.txt'] = ''.join(f'{name} happy\n' for name in files)
        raw = layouts.plant(tmp_path / 'raw', files)
        built = layouts.build('image_list/x', raw, tmp_path / 'out')
        assert set(built.records) == {'train', 'test'}
        assert built.report['split_note'].startswith('our own')

    def test_folders_above_the_users_say_nothing(self, tmp_path):
        place = folder(tmp_path / 'train', ['1.png'], '', images='x') / 'x'
        (tmp_path / 'train/list.csv').write_text(f'path,label\n{place}/1.png,fear\n')
        _, report, _ = prepare(tmp_path, tmp_path / 'train')
        assert report['split_note'].startswith('our own')

    @pytest.mark.parametrize(
        ('column', 'words', 'is_split'),
        [
            ('phase', ('train', 'test'), True),
            ('fold', ('Training', 'valid'), True),
            ('usage', ('public', 'public'), False),
            ('split', ('train', 'train'), False),
            ('set', ('test shoot', 'train ride'), False),
            ('subset', ('TestLab', 'ValDisere'), False),
            ('partition', ('0', '1'), False),
            ('note', ('train', 'blue'), False),
        ],
    )
    def test_which_column_is_one(self, tmp_path, column, words, is_split):
        rows = ''.join(f'{n}.png,fear,{word}\n' for n, word in enumerate(words))
        raw = folder(tmp_path / 'raw', ['0.png', '1.png'], f'path,label,{column}\n{rows}')
        _, report, _ = prepare(tmp_path, raw)
        assert report['split_note'].startswith('named by the list') == is_split

    def test_a_list_for_each(self, layouts, tmp_path):
        files = dict.fromkeys(('a/1.png', 'a/2.png'))
        files |= {'a/train_list.csv': 'path,label\n1.png,fear\n'}
        files |= {'a/test_list.csv': 'path,label\n2.png,sad\n'}
        raw = layouts.plant(tmp_path / 'raw', files)
        built = layouts.build('image_list/x', raw, tmp_path / 'out')
        assert (built.labels('train'), built.labels('test')) == ({'1.png': 1}, {'2.png': 4})
        (raw / 'a/more.csv').write_text('path,label\n1.png,fear\n')
        with pytest.raises(InputError, match=r'several lists found: a/more\.csv'):
            layouts.build('image_list/y', raw, tmp_path / 'out')

    def test_ours_in_spite_of_others(self, tmp_path):
        text = 'path,label,split\n1.png,fear,train\n2.png,fear,test\n3.png,fear,\n'
        raw = folder(tmp_path / 'raw', ['1.png', '2.png', '3.png'], text)
        _, report, _ = prepare(tmp_path, raw, splits='ours', test_fraction=1.0)
        assert {name: split['images'] for name, split in report['splits'].items()} == {'test': 3}
        with pytest.raises(InputError, match="splits='mine' must be found or ours"):
            prepare(tmp_path, raw, splits='mine')

    def test_a_column_of_other_words_says_nothing(self, tmp_path):
        raw = folder(tmp_path / 'raw', ['1.png'], 'path,label,usage\n1.png,fear,free\n')
        _, report, _ = prepare(tmp_path, raw, subject_pattern='.')
        assert report['split_note'] == (
            'our own: no person is in both parts, test_fraction=0.2, seed=0'
        )

    @pytest.mark.parametrize(
        ('word', 'options', 'message'),
        [
            (
                '',
                {},
                r"has the split '' for 3\.png, and others have test, train: .*splits=ours",
            ),
            (
                'test',
                {'test_fraction': 0.5},
                r'test_fraction=0\.5 does nothing with the list th',
            ),
        ],
    )
    def test_mistakes(self, tmp_path, word, options, message):
        text = f'path,label,split\n1.png,fear,train\n2.png,fear,test\n3.png,fear,{word}\n'
        raw = folder(tmp_path / 'raw', ['1.png', '2.png', '3.png'], text)
        with pytest.raises(InputError, match=message):
            prepare(tmp_path, raw, **options)

    def test_one_image_in_two_splits(self, tmp_path):
        text = 'path,label,split\n1.png,fear,train\n1.png,fear,test\n'
        raw = folder(tmp_path / 'raw', ['1.png'], text)
        _, report, _ = prepare(tmp_path, raw)
        assert list(report['splits']) == ['train']
        assert list(report['drops']) == ['listed again with the same label for another split']


class TestMistakes:
    def test_half_missing_is_a_wrong_layout(self, tmp_path):
        raw = folder(tmp_path / 'raw', ['a.png'], 'a.png 3\nb.png 3\nc.png 3\n', 'list.txt')
        with pytest.raises(
            InputError, match=r"2 of 3 images.*first is 'b\.png'; looked in.*a\.png"
        ):
            prepare(tmp_path, raw)

    def test_a_quotation_mark_that_is_not_closed(self, tmp_path):
        text = 'path,label\na.png,fear\n"b.png,fear\n' + 'c.png,fear\n' * 20_000
        raw = folder(tmp_path / 'raw', ['a.png'], text, 'list.csv')
        with pytest.raises(InputError, match=r'list\.csv line 3: .*quotation mark is not closed'):
            prepare(tmp_path, raw)

    @pytest.mark.parametrize('labels', ['list', 'none'])
    def test_archives_are_to_be_unpacked(self, layouts, tmp_path, labels):
        layouts.pack(tmp_path / 'raw/mine.zip', {'list.csv': 'path,label\na.png,fear\n'})
        with pytest.raises(InputError, match=r'not opened for image_list: unpack mine\.zip'):
            prepare(tmp_path, tmp_path / 'raw', labels=labels)

    def test_no_line_left(self, tmp_path):
        raw = folder(tmp_path / 'raw', ['a.png'], 'path,label\na.png,contempt\n', 'list.csv')
        with pytest.raises(InputError, match=r'nothing of .*list\.csv is left.*1 x label contempt'):
            prepare(tmp_path, raw)

    def test_corrupt_image_is_named_or_dropped(self, tmp_path):
        raw = folder(tmp_path / 'raw', ['a.png', 'b.png'], 'a.png 3\nb.png 4\n', 'list.txt')
        bad = raw / 'images' / 'b.png'
        bad.write_bytes(bad.read_bytes()[:60])
        with pytest.raises(InputError, match=r'images/b\.png.*on_corrupt=drop'):
            prepare(tmp_path, raw, test_fraction=0.0)
        _, report, _ = prepare(tmp_path, raw, test_fraction=0.0, on_corrupt='drop')
        assert report['drops'] == {'corrupt image': {'count': 1, 'examples': ['b.png']}}

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({'test_fraction': 1.5}, r'test_fraction=1\.5 must be in 0\.\.1'),
            ({'on_corrupt': 'skip'}, "on_corrupt='skip' must be error or drop"),
            ({'codes': 'rafdb'}, "codes='rafdb' is unknown; known: canonical, raf"),
            ({'subject_pattern': '('}, r"subject_pattern='\('"),
            ({'colour': 1}, "unknown option 'colour'; this builder knows: labels"),
        ],
    )
    def test_bad_options(self, tmp_path, options, message):
        with pytest.raises(InputError, match=message):
            image_list.make_builder('x', data_dir=tmp_path, **options)

    def test_pattern_that_fits_nothing(self, tmp_path):
        raw = folder(tmp_path / 'raw', ['a.png'], 'a.png 3\n', 'list.txt')
        with pytest.raises(InputError, match=r"subject_pattern='\^S' fits no image"):
            prepare(tmp_path, raw, subject_pattern='^S')

    @pytest.mark.parametrize('name', ['../x', '1', 'a b'])
    def test_bad_names(self, tmp_path, name):
        with pytest.raises(InputError, match='letters, digits'):
            image_list.make_builder(name, data_dir=tmp_path)

    def test_manual_dir(self, tmp_path):
        for path, message in (('none', 'does not exist'), ('file', 'is a file'), ('e', 'is empty')):
            (tmp_path / 'file').touch()
            (tmp_path / 'e').mkdir(exist_ok=True)
            with pytest.raises(InputError, match=f'{message}.*image_list needs images and a list'):
                prepare(tmp_path, tmp_path / path)


@pytest.mark.skipif(not REAL.is_dir(), reason='needs the sample list in ../shared/data')
def test_real_list():
    drops = common.Drops()
    path = lists.find_list(REAL, '')
    entries = found.keep_known(found.merge(lists.read(path, DEFAULTS), drops), drops)
    items = found.locate(entries, found.image_folders(REAL, path, ''), path, drops)
    assert len(items) == 2115
    assert {reason: drop['count'] for reason, drop in drops.as_dict().items()} == {
        'label contempt': 9,
        'listed with different labels': 2,
    }
