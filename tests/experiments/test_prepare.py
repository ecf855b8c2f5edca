import pathlib
import shutil
import subprocess
import sys

import pytest
from absl import flags
from PIL import Image

from dmsrl_jax.data import corpora
from dmsrl_jax.errors import InputError, python_command
from dmsrl_jax.expressions import EXPRESSIONS
from experiments import prepare

REPO = pathlib.Path(__file__).parents[2]
SMALL = ['--set=train=7', '--set=test=3', '--set=size=32']


def run(*args: str) -> None:
    values = flags.FlagValues()
    prepare.define_flags(values)
    prepare.main(values(['prepare.py', *args]), values)


class TestCommand:
    def test_prints_table_drops_place_and_next_command(self, tmp_path, capsys):
        run('--corpus=synthetic_faces/studio', f'--data_dir={tmp_path}', *SMALL)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == [
            'split', 'surprise', 'fear', 'disgust', 'happiness', 'sadness', 'anger', 'neutral',
            'images',
        ]  # fmt: skip
        assert lines[1].split() == ['train', *['1'] * 7, '7']
        assert lines[2].split() == ['test', '1', '1', '1', '0', '0', '0', '0', '3']
        assert lines[3] == 'left out: nothing'
        assert lines[4].startswith(f'lies in {tmp_path}/synthetic_faces/studio/1.1.0, built in')
        assert 'prepare a second corpus' in lines[5]
        assert len({len(line) for line in lines[:3]}) == 1

    def test_again_and_with_other_options(self, tmp_path, capsys):
        args = ['--corpus=synthetic_faces', f'--data_dir={tmp_path}', *SMALL]
        run(*args)
        first = capsys.readouterr().out
        run(*args)
        assert capsys.readouterr().out == f'already prepared with these options\n{first}'
        with pytest.raises(InputError, match='--overwrite'):
            run(*args[:-1], '--set=size=33')
        run(*args[:-1], '--set=size=33', '--overwrite')
        corpus = corpora.load('synthetic_faces', 'test', data_dir=tmp_path)
        assert corpora.report(corpus.folder)['options']['size'] == 33

    def test_list(self, tmp_path, capsys):
        run('--corpus=synthetic_faces/wild', f'--data_dir={tmp_path}', *SMALL)
        capsys.readouterr()
        run('--list', f'--data_dir={tmp_path}')
        out = capsys.readouterr().out
        assert '  image_list\n' in out
        assert '  synthetic_faces/wild: train 7, test 3\n' in out

    @pytest.mark.parametrize('name', corpora.registered())
    def test_help_of_every_corpus(self, name, capsys):
        run(f'--corpus={name}', '--help_corpus')
        out = capsys.readouterr().out
        assert f'Command: {python_command()} experiments/prepare.py --corpus {name}' in out
        assert out.count('experiments/prepare.py') == out.count(
            f'{python_command()} experiments/prepare.py'
        )
        for option in corpora.builder_module(name).options():
            assert f'\n  {option}=' in out

    def test_help_of_a_protocol(self, capsys):
        run('--corpus=ck_plus/peak1', '--help_corpus')
        assert (
            'experiments/prepare.py --corpus ck_plus/peak1 --manual_dir' in capsys.readouterr().out
        )
        run('--corpus=image_list/mine', '--help_corpus')
        for name in ('ck_plus/nope', 'raf_db/aligned/x', 'synthetic_faces/nope'):
            corpus, _, protocol = name.partition('/')
            with pytest.raises(
                InputError, match=f"{corpus} has no protocol '{protocol}'; it has\n  "
            ):
                run(f'--corpus={name}', '--help_corpus')

    def test_summary_of_drops(self):
        classes = dict.fromkeys(EXPRESSIONS, 2)
        report = {
            'splits': {'validation': {'images': 14, 'classes': classes}},
            'drops': {
                'black': {'count': 7, 'examples': list('abcde')},
                'odd': {'count': 1, 'examples': ['f']},
            },
        }
        lines = prepare.summary(pathlib.Path('/here'), report).splitlines()
        assert lines[2:] == [
            'left out: 8',
            '       7  black: a, b, c, d, e, ...',
            '       1  odd: f',
            'lies in /here',
        ]

    def test_a_folder_without_labels(self, tmp_path, capsys):
        (tmp_path / 'raw').mkdir()
        for i in range(3):
            Image.new('RGB', (8, 8), (i, 0, 0)).save(tmp_path / f'raw/{i}.png')
        where = f'--data_dir={tmp_path / "data"}'
        run('--corpus=image_list/mycam', f'--manual_dir={tmp_path}/raw', '--set=labels=none', where)
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].split() == ['train', *['-'] * 7, '3']
        assert lines[2] == 'no labels: a corpus to adapt to, not to learn from or to test on'
        assert 'prepare a second corpus' in lines[-1]
        assert lines[-1].endswith(
            f' --corpus image_list/NAME --manual_dir DIR --data_dir {tmp_path}/data'
        )
        run('--list', where)
        assert '  image_list/mycam: train 3 (no labels)\n' in capsys.readouterr().out

    def test_next_command_takes_no_source_without_labels(self, tmp_path, capsys):
        where = f'--data_dir={tmp_path / "data"}'
        self.test_a_folder_without_labels(tmp_path, capsys)
        raw = tmp_path / 'faces' / 'happy'
        raw.mkdir(parents=True)
        for path in sorted((tmp_path / 'raw').iterdir())[:2]:
            shutil.copy(path, raw)
        folder = f'--manual_dir={raw.parent}'
        run('--corpus=image_list/faces', folder, '--set=labels=folders', where)
        pair = 'pair.py:image_list/faces,image_list/mycam --workdir'
        assert pair in capsys.readouterr().out
        assert pair in prepare.next_command('image_list/mycam', str(tmp_path / 'data'))

    def test_next_command_keeps_drawn_faces_and_photographs_apart(self, tmp_path):
        for name in ('fer2013', 'synthetic_faces/wild'):
            (tmp_path / name / '1.0.0').mkdir(parents=True)
            (tmp_path / name / '1.0.0/dataset_info.json').touch()
        told = prepare.next_command('fer2013', str(tmp_path))
        assert 'prepare a second corpus' in told
        assert f' --corpus image_list/NAME --manual_dir DIR --data_dir {tmp_path}' in told
        told = prepare.next_command('synthetic_faces/wild', str(tmp_path))
        assert told.endswith(f' --corpus synthetic_faces/studio --data_dir {tmp_path}')

    def test_next_command_pairs_two_corpora(self, tmp_path):
        for name in ('fer2013', 'image_list/mine'):
            (tmp_path / name / '1.0.0').mkdir(parents=True)
            (tmp_path / name / '1.0.0/dataset_info.json').touch()
        assert prepare.next_command('image_list/mine', str(tmp_path)) == (
            f'next: {python_command()} experiments/train.py --config experiments/configs/pair.py:'
            'fer2013,image_list/mine --workdir runs/fer2013-image_list_mine '
            f'--config.data_dir={tmp_path}'
        )


class TestMistakes:
    @pytest.mark.parametrize(
        ('args', 'message'),
        [
            ((), 'pass --corpus NAME, one of .*fer_plus, image_list'),
            (('--corpus=nope',), "no corpus 'nope'"),
            (('--corpus=fer2013', 'x'), 'unexpected arguments: x'),
            (('--corpus=image_list', '--set=codes'), "takes key=value, got 'codes'"),
            (('--corpus=image_list', '--set=codes=raf', '--set=codes=mmi'), 'codes is given twice'),
            (('--corpus=image_list', '--set=code=raf'), r"no option 'code'[^~]*codes='canonical'"),
        ],
    )
    def test_says_what_is_wrong(self, args, message):
        with pytest.raises(InputError, match=message):
            run(*args)

    def test_settings_keep_further_equal_signs(self):
        assert prepare.parse_settings(['a = b=c', 'd=']) == {'a': 'b=c', 'd': ''}

    def test_one_line_and_status_2_without_a_traceback(self, tmp_path):
        command = [sys.executable, 'experiments/prepare.py', '--corpus=fer2013']
        done = subprocess.run(
            [*command, f'--data_dir={tmp_path}'], cwd=REPO, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stdout == ''
        assert done.stderr.startswith("error: corpus 'fer2013' is not prepared")
        assert done.stderr.count('\n') == 1
