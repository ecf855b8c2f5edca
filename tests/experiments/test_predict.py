import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from absl import flags

from dmsrl_jax.data import corpora, images
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS
from dmsrl_jax.training import restore
from experiments import predict


@pytest.fixture(autouse=True)
def no_lasting_cache(monkeypatch):
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', '')


def call(*arguments):
    values = flags.FlagValues()
    predict.define_flags(values)
    return predict.main(values(['predict.py', *map(str, arguments)]), values)


@pytest.fixture
def faces(tiny_data, tmp_path):
    """A folder with the first five test images of the target."""
    folder = tmp_path / 'faces'
    folder.mkdir()
    corpus = corpora.load('synthetic_faces/wild', 'test', data_dir=tiny_data)
    for number in range(5):
        (folder / f'{number}.jpg').write_bytes(corpus[number]['image'])
    return folder


def test_prints_and_writes_one_row_per_image_in_order(tiny_run, faces, tmp_path, capsys):
    written = tmp_path / 'found.json'
    assert call('--workdir', tiny_run, '--json', written, faces, '--batch_size', 3) == 0
    found = json.loads(written.read_text())
    assert found['skipped'] == {}
    assert [entry['file'] for entry in found['images']] == [
        str(faces / f'{number}.jpg') for number in range(5)
    ]
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ['file', *(name[:6] for name in EXPRESSIONS), 'top']
    assert len(rows) == 5
    for entry, line in zip(found['images'], rows, strict=True):
        values = entry['probabilities']
        assert tuple(values) == EXPRESSIONS
        assert sum(values.values()) == pytest.approx(1.0, abs=1e-5)
        assert entry['expression'] == max(values, key=values.get)
        assert line.split()[1:8] == [
            f'{"*" if name == entry["expression"] else ""}{value:.3f}'
            for name, value in values.items()
        ]
        assert line.endswith(entry['expression'])
        assert line.startswith(f'{entry["file"]} ')  # whole: this is no terminal


def test_the_batch_size_and_the_way_to_name_images_change_nothing(tiny_run, faces, tmp_path):
    one, other = tmp_path / 'one.json', tmp_path / 'other.json'
    call('--workdir', tiny_run, '--json', one, faces)
    backwards = sorted(faces.iterdir(), reverse=True)
    call('--workdir', tiny_run, '--json', other, '--batch_size=2', *backwards, f'{faces}/*.jpg')
    first, second = (json.loads(path.read_text())['images'] for path in (one, other))
    assert [entry['file'] for entry in first] == [entry['file'] for entry in second]
    for left, right in zip(first, second, strict=True):
        np.testing.assert_allclose(
            list(left['probabilities'].values()),
            list(right['probabilities'].values()),
            rtol=1e-4,
            atol=1e-6,
        )


@pytest.mark.parametrize(
    ('domain', 'number'),
    [(['--domain', 'source'], 0), (['--domain', 'target'], 1), ([], 1)],
    ids=['source', 'target', 'default'],
)
def test_domain_chooses_the_statistics(tiny_run, faces, tmp_path, domain, number):
    written = tmp_path / 'found.json'
    call('--workdir', tiny_run, *domain, '--json', written, faces / '0.jpg')
    (entry,) = json.loads(written.read_text())['images']
    restored = restore.restore_model(tiny_run)
    image = images.decode((faces / '0.jpg').read_bytes(), restored.config.image_size)[None]
    logits = [restored.forward(domain=d)(restored.variables, image)[0] for d in (0, 1)]
    assert np.abs(logits[0] - logits[1]).max() > 1e-3
    told = np.log(list(entry['probabilities'].values()))
    np.testing.assert_allclose(told - told[0], logits[number] - logits[number][0], atol=1e-3)


def test_unreadable_files_are_named_and_skipped(tiny_run, faces, tmp_path, capsys):
    (faces / '2.jpg').write_bytes((faces / '2.jpg').read_bytes()[:100])
    written = tmp_path / 'found.json'
    assert call('--workdir', tiny_run, '--json', written, faces, faces / 'gone.png') == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + 4
    assert 'skipped: cannot decode image' in err
    assert str(faces / '2.jpg') in err
    assert 'cannot read image' in err
    assert '2 of 6 files skipped' in err
    assert list(json.loads(written.read_text())['skipped']) == [
        str(faces / '2.jpg'),
        str(faces / 'gone.png'),
    ]


def test_a_network_of_no_finite_numbers_is_refused(tiny_run, faces, capsys, monkeypatch):
    whole = restore.restore_model(tiny_run)
    bad = dataclasses.replace(whole, variables=jax.tree.map(lambda x: x * np.nan, whole.variables))
    monkeypatch.setattr(restore, 'restore_model', lambda workdir: bad)
    with pytest.raises(InputError, match=r'gives no finite numbers for .*0\.jpg'):
        call('--workdir', tiny_run, faces)
    assert 'nan' not in capsys.readouterr().out


def test_mistakes_of_the_caller(tiny_run, faces, tmp_path):
    with pytest.raises(InputError, match='pass --workdir DIR'):
        call(faces)
    with pytest.raises(InputError, match='name at least one image'):
        call('--workdir', tiny_run)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match='no image file in'):
        call('--workdir', tiny_run, tmp_path / 'empty')
    with pytest.raises(InputError, match=r'no config\.json'):
        call('--workdir', faces, faces)
    with pytest.raises(InputError, match=r'cannot write .*nowhere/x\.json'):
        call('--workdir', tiny_run, '--json', tmp_path / 'nowhere/x.json', faces / '0.jpg')
    with pytest.raises(InputError, match=r'cannot write .*; pass another --json'):
        call('--workdir', 'no run, which would be told next', '--json', tmp_path, faces / '0.jpg')


def test_the_run_may_move_and_needs_no_corpus(tiny_run, faces, tmp_path):
    moved = shutil.copytree(tiny_run, tmp_path / 'moved')
    config = json.loads((moved / 'config.json').read_text())
    config['data_dir'] = str(tmp_path / 'no_corpora')
    (moved / 'config.json').write_text(json.dumps(config))
    assert call('--workdir', moved, faces / '1.jpg') == 0


@pytest.mark.parametrize(
    ('name', 'shown'),
    [
        ('a.png', 'a.png'),
        ('x' * 21, 'x' * 21),
        ('folder/with/many/faces/0001.png', 'folder/…aces/0001.png'),
    ],
)
def test_shorten_leaves_out_the_middle(name, shown):
    assert predict.shorten(name, 21) == shown
    assert len(predict.shorten(name, 21)) <= 21


def test_row_marks_the_highest_and_fits_the_terminal():
    for top in range(7):
        probabilities = np.full(7, 0.05)
        probabilities[top] = 0.7
        line = predict.row('a/very/long/path/to/some/picture.png', probabilities, 21)
        assert len(line) <= 80
        assert line.count('*') == 1
        assert '*0.700' in line
        assert line.endswith(EXPRESSIONS[top])
        assert line.index('0.050') > 20
    assert len(predict.header(21)) <= 80


@pytest.mark.parametrize(
    ('columns', 'width'), [(80, 21), (60, 21), (89, 30), (200, 40)], ids=lambda n: str(n)
)
def test_the_width_of_a_terminal_is_for_names(monkeypatch, columns, width):
    monkeypatch.setenv('COLUMNS', str(columns))
    monkeypatch.setattr('sys.stdout.isatty', lambda: True)
    assert predict.file_width(['x' * 40, 'y']) == width
    line = predict.row('x' * 40, np.eye(7)[3], width)  # happiness, the longest
    assert len(line) <= max(columns, 80)
