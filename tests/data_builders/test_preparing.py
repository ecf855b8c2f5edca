import json
import os
import subprocess
import sys

import pytest

from data_builders import preparing, staging
from dmsrl_jax.data import corpora
from dmsrl_jax.errors import InputError

NAME = 'synthetic_faces/studio'
SMALL = {'train': 7, 'test': 2, 'size': 32}


def options(**changes):
    return preparing.typed_options(NAME, {k: str(v) for k, v in (SMALL | changes).items()})


def prepare(data_dir, **kwargs):
    changes = kwargs.pop('changes', {})
    return preparing.prepare(NAME, options(**changes), data_dir=data_dir, **kwargs)


class Recorder:
    """Stands for a progress bar."""

    def __init__(self, name, total):
        self.name, self.done, self.closed = name, 0, 0

    def update(self):
        self.done += 1

    def close(self):
        self.closed += 1


class TestOptions:
    def test_types_and_defaults(self):
        values = preparing.typed_options('image_list', {'test_fraction': '0.5', 'codes': 'raf'})
        assert values['test_fraction'] == 0.5
        assert (values['codes'], values['split_seed']) == ('raf', 0)

    def test_unknown_option_lists_the_known_ones(self):
        with pytest.raises(InputError, match="no option 'fraction'") as error:
            preparing.typed_options('image_list', {'fraction': '0.5'})
        assert 'test_fraction=0.2: share of the persons' in str(error.value)
        with pytest.raises(InputError, match="no option 'code', perhaps codes is meant"):
            preparing.typed_options('image_list', {'code': 'raf'})

    def test_wrong_type(self):
        with pytest.raises(InputError, match="option test_fraction='half' is not a float"):
            preparing.typed_options('image_list', {'test_fraction': 'half'})

    def test_no_options(self):
        assert preparing.describe_options({}) == 'It has no options.'


class TestPrepare:
    def test_report_lies_beside_the_data(self, tmp_path):
        folder, report, new = prepare(tmp_path)
        assert new
        assert folder == tmp_path / NAME / '1.1.0'
        assert json.loads((folder / 'report.json').read_text()) == report
        assert report['corpus'] == NAME
        assert report['options']['train'] == 7
        assert report['splits']['train']['classes'] == dict.fromkeys(
            ('surprise', 'fear', 'disgust', 'happiness', 'sadness', 'anger', 'neutral'), 1
        )
        assert report['splits']['test']['images'] == 2
        assert list(folder.glob('*array_record*'))

    def test_second_time_changes_nothing(self, tmp_path):
        folder, report, _ = prepare(tmp_path)
        before = (folder / 'report.json').stat().st_mtime_ns
        assert prepare(tmp_path) == (folder, report, False)
        assert (folder / 'report.json').stat().st_mtime_ns == before

    def test_other_options_need_overwrite(self, tmp_path):
        prepare(tmp_path)
        with pytest.raises(InputError, match=r'prepared with test=2, now 3. Pass --overwrite'):
            prepare(tmp_path, changes={'test': 3})
        _, report, new = prepare(tmp_path, changes={'test': 3}, overwrite=True)
        assert new
        assert report['splits']['test']['images'] == 3
        assert len(corpora.load(NAME, 'test', data_dir=tmp_path)) == 3

    def test_failed_overwrite_keeps_the_old_one(self, tmp_path, monkeypatch):
        prepare(tmp_path)

        def fail(*_):
            raise OSError(28, 'No space left on device')

        monkeypatch.setattr(preparing, '_count', fail)
        with pytest.raises(InputError, match='the disk is full'):
            prepare(tmp_path, changes={'test': 3}, overwrite=True)
        assert len(corpora.load(NAME, 'test', data_dir=tmp_path)) == 2

    def test_progress_counts_every_image_and_ends(self, tmp_path):
        made = []
        prepare(tmp_path, progress=lambda *args: made.append(Recorder(*args)) or made[-1])
        (bar,) = made
        assert (bar.name, bar.done, bar.closed) == ('synthetic_faces', 9, 1)

    def test_other_manual_dir_needs_overwrite(self, tmp_path):
        raw = tmp_path / 'raw'
        raw.mkdir()
        (raw / 'fer2013.csv').write_text(
            'emotion,pixels,Usage\n0,' + ' '.join(['9'] * 2304) + ',Training\n'
        )
        preparing.prepare('fer2013', {}, data_dir=tmp_path, manual_dir=raw)
        assert preparing.prepare('fer2013', {}, data_dir=tmp_path)[2] is False
        with pytest.raises(InputError, match=r'manual_dir=.*/raw, now .*/other'):
            preparing.prepare('fer2013', {}, data_dir=tmp_path, manual_dir=tmp_path / 'other')


class TestMistakes:
    def test_no_manual_dir_says_what_to_do(self, tmp_path):
        with pytest.raises(InputError, match=r'It needs fer2013\.csv.*--manual_dir DIR'):
            preparing.prepare('fer2013', {}, data_dir=tmp_path)

    def test_data_dir_is_a_file(self, tmp_path):
        (tmp_path / 'file').touch()
        with pytest.raises(InputError, match=r'cannot prepare the corpus in .*/file/x'):
            prepare(tmp_path / 'file' / 'x')

    def test_no_permission(self, tmp_path, monkeypatch):
        def deny(path, *_, **__):
            raise PermissionError(13, 'Permission denied', str(path))

        monkeypatch.setattr('pathlib.Path.mkdir', deny)
        with pytest.raises(InputError, match=r'Permission denied.*no permission: choose'):
            prepare(tmp_path / 'x')

    def test_full_disk(self, tmp_path):
        """A real failed write inside the record writer, by a limit on the size of files."""
        code = f"""
import resource
from data_builders import preparing, staging
from dmsrl_jax.errors import InputError
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
options = preparing.typed_options({NAME!r}, {{'train': '30', 'test': '2'}})
try:
    preparing.prepare({NAME!r}, options, data_dir={str(tmp_path)!r})
except InputError as error:
    print(error)
"""
        if os.name != 'posix':
            pytest.skip('needs limits on the size of files')
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
        assert 'the disk is full: free some space' in done.stdout, done.stderr
        assert corpora.prepared(tmp_path) == {}

    def test_disk_that_was_full_before(self, tmp_path, monkeypatch):
        place = 'tensorflow_datasets.core.utils.has_sufficient_disk_space'
        monkeypatch.setattr(place, lambda *_, **__: False)
        with pytest.raises(InputError, match=r'Not enough disk space.*the disk is full: free some'):
            prepare(tmp_path)

    def test_bug_keeps_its_traceback(self, tmp_path, monkeypatch):
        def bug(*_):
            raise RuntimeError('a bug')

        monkeypatch.setattr(preparing, '_count', bug)
        with pytest.raises(RuntimeError, match='a bug'):
            prepare(tmp_path)


class TestKilled:
    def test_leaves_nothing_that_looks_complete(self, tmp_path):
        code = f"""
import os
from data_builders import preparing, staging

class Bar(preparing.Progress):
    def update(self):
        os._exit(9)

options = preparing.typed_options({NAME!r}, {SMALL!r})
preparing.prepare({NAME!r}, options, data_dir={str(tmp_path)!r}, progress=Bar)
"""
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
        assert done.returncode == 9, done.stderr
        left = tmp_path / '.preparing' / 'synthetic_faces_studio'
        assert left.is_dir()
        assert corpora.prepared(tmp_path) == {}
        with pytest.raises(InputError, match='is not prepared'):
            corpora.load(NAME, 'train', data_dir=tmp_path)
        prepare(tmp_path)
        assert not left.exists()
        assert list(corpora.prepared(tmp_path)) == [NAME]

    def test_two_at_a_time(self, tmp_path):
        with (
            staging.folder(tmp_path, 'synthetic_faces_studio'),
            pytest.raises(InputError, match='another process is preparing'),
        ):
            prepare(tmp_path)
        assert prepare(tmp_path)[2]


class TestProgress:
    def test_plain_lines_off_a_terminal(self, capsys):
        bar = preparing.Progress('faces', 2500)
        for _ in range(2500):
            bar.update()
        bar.close()
        lines = capsys.readouterr().err.splitlines()
        assert lines == ['faces: 1000 of 2500 images', 'faces: 2000 of 2500 images']

    def test_one_bar_on_a_terminal(self, capsys, monkeypatch):
        monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
        bar = preparing.Progress('faces', 3)
        for _ in range(3):
            bar.update()
        bar.close()
        text = capsys.readouterr().err
        assert '3/3' in text
        assert text.count('\n') == 1
