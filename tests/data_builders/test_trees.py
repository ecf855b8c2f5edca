import os
import pickle
import random
import shutil
import subprocess

import pytest

from data_builders import trees
from dmsrl_jax.errors import InputError


@pytest.fixture
def grow(layouts, tmp_path):
    """Plants files and gives their tree."""

    def make(files):
        return trees.Tree(layouts.plant(tmp_path / 'raw', files), scratch=tmp_path / 'scratch')

    return make


class TestFiles:
    def test_junk_is_left_out(self, grow):
        tree = grow({
            'a/1.png': 'x', 'a/.DS_Store': 'x', 'a/._1.png': 'x', '__MACOSX/a/1.png': 'x',
            'Thumbs.db': 'x', 'b/desktop.ini': 'x', '.Trash-1000/files/1.png': 'x',
            '$RECYCLE.BIN/1.png': 'x', 'a/@eaDir/1.png': 'x',
        })  # fmt: skip
        assert tree.files() == ['a/1.png']

    def test_archives_look_as_if_unpacked_where_they_lie(self, layouts, grow, tmp_path):
        layouts.pack(tmp_path / 'raw/Image/aligned.zip', {'aligned/1.txt': 'one'})
        layouts.pack(tmp_path / 'raw/b.tgz', {'b/2.txt': 'two', '__MACOSX/b/2.txt': 'x'})
        tree = grow({})
        assert tree.files() == ['Image/aligned.zip', 'Image/aligned/1.txt', 'b.tgz', 'b/2.txt']
        assert tree.read('Image/aligned/1.txt') == b'one'
        assert tree.read('b/2.txt') == b'two'

    def test_archive_in_an_archive_but_no_third(self, layouts, tmp_path, grow):
        inner = tmp_path / 'inner.zip'
        for name in ('deepest.zip', 'inner.zip', 'x.zip'):
            files = {f'{name}.txt': name}
            if name != 'deepest.zip':
                files['in/inner.zip'] = inner.read_bytes()
            layouts.pack(inner, files)
        tree = grow({'outer.zip': inner.read_bytes()})
        assert tree.files() == [
            'in/in/inner.zip', 'in/inner.zip', 'in/inner.zip.txt', 'outer.zip', 'x.zip.txt',
        ]  # fmt: skip
        assert tree.read('in/inner.zip.txt') == b'inner.zip'

    @pytest.mark.skipif(not shutil.which('7z'), reason='needs 7z')
    def test_volumes_in_an_archive(self, layouts, tmp_path, grow):
        content = random.Random(0).randbytes(5000)
        layouts.plant(tmp_path / 'parts', {'origin/1.bin': content})
        command = ['7z', 'a', '-v2k', 'origin.7z', 'origin']
        subprocess.run(command, cwd=tmp_path / 'parts', check=True, capture_output=True)
        parts = {f'image/{p.name}': p.read_bytes() for p in (tmp_path / 'parts').glob('*.7z.*')}
        assert len(parts) == 3
        layouts.pack(tmp_path / 'raw/corpus.zip', parts)
        tree = grow({})
        assert tree.unopened == []
        assert tree.read('image/origin/1.bin') == content

    def test_unpacked_files_go_first(self, layouts, tmp_path, grow):
        layouts.pack(tmp_path / 'raw/a.zip', {'a/1.txt': 'archive', 'a/2.txt': 'archive'})
        tree = grow({'a/1.txt': 'plain'})
        assert (tree.read('a/1.txt'), tree.read('a/2.txt')) == (b'plain', b'archive')

    def test_archives_with_the_same_names_do_not_mix(self, layouts, tmp_path, grow):
        layouts.pack(tmp_path / 'raw/a.zip', {'a/1.txt': 'old', 'a/2.txt': 'old'})
        layouts.pack(tmp_path / 'raw/a_new.tar.gz', {'a/1.txt': 'new', 'a/3.txt': 'new'})
        tree = grow({})
        assert tree.files() == [
            'a.zip', 'a/1.txt', 'a/2.txt', 'a_new.tar.gz', 'a_new/a/1.txt', 'a_new/a/3.txt',
        ]  # fmt: skip
        assert (tree.read('a/1.txt'), tree.read('a_new/a/1.txt')) == (b'old', b'new')
        assert tree.find(r'a/\d\.txt', alike=False)['a/1.txt'].path == 'a/1.txt'

    def test_an_archive_beside_other_files_of_the_same_names(self, layouts, tmp_path, grow):
        layouts.pack(tmp_path / 'raw/a_new.zip', {'a/1.txt': 'new', 'a/2.txt': 'new'})
        tree = grow({'a/1.txt': 'plain'})
        assert tree.files() == ['a/1.txt', 'a/2.txt', 'a_new.zip', 'a_new/a/1.txt']
        found = tree.find(r'a/\d\.txt', alike=False).values()
        assert [tree.read(file.path) for file in found] == [b'plain', b'new']
        found = tree.find(r'a_new/a/\d\.txt').values()
        assert [tree.read(file.path) for file in found] == [b'new', b'new']

    def test_prepared_corpora_are_not_looked_into(self, grow):
        files = ('dataset_info.json', 'features.json', 'report/train.png')
        prepared = dict.fromkeys((f'out/c/1.0.0/{name}' for name in files), 'x')
        assert grow({'a/1.png': 'x', **prepared}).files() == ['a/1.png']

    def test_other_libraries_describe_data_sets_in_a_file_of_the_same_name(self, grow):
        files = ['a/1.png', 'a/dataset_info.json']
        assert grow(dict.fromkeys(files, 'x')).files() == files

    @pytest.mark.skipif(os.geteuid() == 0, reason='root lists every folder')
    def test_a_folder_that_cannot_be_listed_is_refused(self, grow, tmp_path):
        (tmp_path / 'raw/Val').mkdir(parents=True, mode=0)
        with pytest.raises(InputError, match=r'cannot read .*raw/Val: Permission denied; mend or'):
            grow({'Train/1.png': 'x'})

    def test_an_error_while_listing_is_told(self, grow, monkeypatch):
        def failing(root, *, onerror, **_):
            onerror(PermissionError(13, 'Permission denied', f'{root}/Val'))
            return iter(())

        monkeypatch.setattr(trees.os, 'walk', failing)
        with pytest.raises(InputError, match=r'cannot read .*raw/Val: Permission denied; mend or'):
            grow({'Train/1.png': 'x'})

    def test_linked_folders_once(self, grow, tmp_path):
        (tmp_path / 'else').mkdir()
        (tmp_path / 'else/1.txt').touch()
        (tmp_path / 'raw').mkdir()
        (tmp_path / 'raw/link').symlink_to(tmp_path / 'else')
        (tmp_path / 'raw/loop').symlink_to(tmp_path / 'raw')
        assert grow({}).files() == ['link/1.txt']

    def test_a_folder_keeps_its_name_though_a_link_leads_to_it(self, grow, tmp_path):
        (tmp_path / 'raw/Train/Angry').mkdir(parents=True)
        (tmp_path / 'raw/Angry_examples').symlink_to('Train/Angry')
        tree = grow({'Train/Angry/1.png': 'x'})
        assert tree.files() == ['Angry_examples/1.png', 'Train/Angry/1.png']
        assert [file.path for file in tree.find(r'Train/.*').values()] == ['Train/Angry/1.png']
        assert tree.read(tree.find(r'Angry_examples/.*')['Angry_examples/1.png'].path) == b'x'

    def test_what_cannot_be_opened_is_told(self, grow):
        tree = grow({'a.zip': b'no archive', 'b.txt': 'x'})
        assert tree.files() == ['a.zip', 'b.txt']
        assert 'a.zip is damaged' in tree.unopened[0]
        assert tree.describe().endswith(tree.unopened[0])

    def test_can_be_pickled(self, layouts, tmp_path, grow):
        layouts.pack(tmp_path / 'raw/a.zip', {'a/1.txt': 'one'})
        layouts.pack(tmp_path / 'raw/b.tgz', {'a/2.txt': 'two'})
        tree = grow({})
        tree.read('a/1.txt')
        tree.read('a/2.txt')
        again = pickle.loads(pickle.dumps(tree))
        assert (again.read('a/1.txt'), again.read('a/2.txt')) == (b'one', b'two')


class TestFind:
    def test_folders_that_differ_in_case_alone_are_the_same(self, grow):
        with pytest.raises(InputError, match='have one name and differ'):
            grow({'a/Happy/1.png': 'x', 'b/happy/1.png': 'y'}).find(r'happy/\d\.png')
        names = ['a/happy/X.png', 'b/happy/x.png']  # but files are not
        assert len(grow(dict.fromkeys(names, 'z')).find(r'happy/x\.png')) == 2

    def test_all_files_but_pictures_are_compared(self, grow):
        files = {f'{top}/{n}_exp.npy': 'x' for top in 'ab' for n in range(90)}
        grow(files).find(r'\d+_exp\.npy')
        with pytest.raises(InputError, match=r'a/7_exp\.npy and b/7_exp\.npy .* differ'):
            grow(files | {'b/7_exp.npy': 'y'}).find(r'\d+_exp\.npy')

    def test_line_ends_are_no_difference(self, grow):
        grow({'a/l.txt': 'x\ny\n', 'b/l.txt': 'x\r\ny\r\n'}).find(r'l\.txt')

    def test_by_the_end_of_the_name_whatever_the_case(self, grow):
        tree = grow({
            'w/w/data/S1/a.PNG': 'x', 'w/w/data/S2/b.png': 'x', 'w/other/S3/c.png': 'x',
            'xdata/S4/d.png': 'x',
        })  # fmt: skip
        found = tree.find(r'data/(?P<subject>S\d)/\w+\.png')
        assert list(found) == ['data/S1/a.PNG', 'data/S2/b.png']
        assert found['data/S1/a.PNG'] == ('w/w/data/S1/a.PNG', {'subject': 'S1'})

    def test_of_copies_the_one_in_fewest_folders(self, grow):
        tree = grow({'copy/old/data/1.png': 'x', 'data/1.png': 'x', 'copy/data/1.png': 'x'})
        assert tree.find(r'data/\d\.png')['data/1.png'].path == 'data/1.png'

    @pytest.mark.parametrize('count', [1, 19, 20, 39, 40, 500])
    def test_copies_that_differ_are_refused(self, grow, count):
        files = {f'{where}data/{n}.png': where for where in ('', 'masked/') for n in range(count)}
        tree = grow(files)
        with pytest.raises(
            InputError, match=r'^data/0\.png and masked/data/0\.png in .*raw have one'
        ):
            tree.find(r'data/\d+\.png')
        found = tree.find(r'data/\d+\.png', alike=False)
        assert {tree.read(file.path) for file in found.values()} == {b''}
        assert len(tree.find(r'data/\d+\.png', without='masked')) == count

    def test_of_few_copies_each_is_compared(self, grow):
        files = {f'{where}data/{n}.png': 'x' for where in ('', 'copy/') for n in range(20)}
        tree = grow(files | {'copy/data/13.png': 'y'})
        with pytest.raises(InputError, match=r'data/13\.png in .*raw have one name and differ'):
            tree.find(r'data/\d+\.png')

    def test_unpacked_before_archive(self, layouts, tmp_path, grow):
        layouts.pack(tmp_path / 'raw/a.zip', {'A/data/1.png': 'x'})
        assert grow({'b/data/1.png': 'x'}).find(r'data/1\.png')['data/1.png'].path == 'b/data/1.png'

    def test_an_archives_name_is_as_good_as_a_folder(self, layouts, tmp_path, grow):
        inner = layouts.pack(tmp_path / 'inner.zip', {'1.png': 'x'}).read_bytes()
        layouts.pack(tmp_path / 'raw/w/train_set.tar', {'images/1.png': 'x'})
        layouts.pack(tmp_path / 'raw/w/compound.zip', {'images/2.png': 'x', 'part.zip': inner})
        tree = grow({'w/val_set/images/3.png': 'x'})
        assert {key: file.path for key, file in tree.find(r'\w+_set/images/\d\.png').items()} == {
            'train_set/images/1.png': 'w/images/1.png',
            'val_set/images/3.png': 'w/val_set/images/3.png',
        }
        assert list(tree.find(r'compound/part/1\.png')) == ['compound/part/1.png']
        assert list(tree.find(r'\d\.png', without='compound')) == ['1.png', '3.png']
        assert tree.find(r'1\.png', without='compound')['1.png'].path == 'w/images/1.png'

    def test_without(self, grow):
        tree = grow({'basic/1.png': 'x', 'compound (1)/1.png': 'x', 'compound (1)/2.png': 'x'})
        found = tree.find(r'\d\.png', without=r'compound[^/]*')
        assert {key: file.path for key, file in found.items()} == {'1.png': 'basic/1.png'}

    def test_index(self, grow):
        tree = grow({'a/Test_1.JPG': 'x', 'b/test_2.jpg': 'x'})
        index = tree.index(r'(?P<id>test_\d)\.jpg')
        assert index == {'test_1': 'a/Test_1.JPG', 'test_2': 'b/test_2.jpg'}
        assert index.named('TEST_1') == 'a/Test_1.JPG'
        assert index.named('test_3') is None

    def test_an_index_knows_names_that_differ_in_case_alone(self, grow):
        index = grow({'b/A.jpg': 'x', 'c/d/a.jpg': 'y'}).index(r'(?P<id>\w)\.jpg')
        assert index == {'a': 'b/A.jpg'}  # of several the one in the fewest folders
        assert (index.named('A'), index.named('a')) == ('b/A.jpg', 'c/d/a.jpg')


@pytest.mark.parametrize(
    ('pattern', 'text'),
    [
        (r'(?P<subject>S\d{3})/(?P<n>\d)\.png', '<subject>/<n>.png'),
        (r'(?P<stem>(?P<part>a|b)_set/(?P<n>\d+))_exp\.npy', '<part>_set/<n>_exp.npy'),
        (r'(?P<split>a|b)/(?P<word>\w+)/[^/]+\.(?:jpe?g|png)', '<split>/<word>/*.jpg'),
        (r'S\d{3}/(?P<x>)x[^/]*/(?:[^/]+/)*a(?:/[^/]+)?_?b(_c)?\.png', 'S###/x*/ab.png'),
        (r'(?P<id>(?:train|test)_\d+)_aligned\.jpg', '<id>_aligned.jpg'),
        (r'VL/Strong\.txt', 'VL/Strong.txt'),
    ],
)
def test_readable(pattern, text):
    assert trees.readable(pattern) == text


class TestReading:
    def test_lines(self, grow, layouts, tmp_path):
        text = '\ufeffone 1\r\n\r\n  two 2 \rthree\n'
        layouts.pack(tmp_path / 'raw/z.zip', {'inside.txt': text})
        tree = grow({'plain.txt': text})
        for name in ('plain.txt', 'inside.txt'):
            assert list(tree.lines(name)) == [(1, 'one 1'), (3, 'two 2'), (4, 'three')]

    def test_no_text(self, grow):
        tree = grow({'x.txt': b'\xff\xfe\x00'})
        with pytest.raises(InputError, match=r'x\.txt is not a text file'):
            list(tree.lines('x.txt'))

    def test_errors_of_the_reader_stay_what_they_are(self, grow):
        with pytest.raises(ValueError, match='mine'), grow({'a.txt': 'x'}).open('a.txt'):
            raise ValueError('mine')

    def test_local_copies_are_removed(self, grow, layouts, tmp_path):
        layouts.pack(tmp_path / 'raw/z.zip', {'clip.avi': b'avi'})
        tree = grow({'plain.avi': b'plain'})
        with tree.local('clip.avi') as path:
            assert (path.name, path.read_bytes()) == ('clip.avi', b'avi')
        assert not path.exists()
        with tree.local('plain.avi') as path:
            assert path == tmp_path / 'raw/plain.avi'
        assert path.exists()
