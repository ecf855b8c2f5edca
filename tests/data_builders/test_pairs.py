"""Any two prepared corpora make a pair."""

import itertools

import pytest

from dmsrl_jax.data import corpora, pipeline
from dmsrl_jax.training import run
from experiments.configs import pair

WORDS = ('Anger', 'Disgust', 'Fear', 'Happiness', 'Sadness', 'Surprise')
SHORT = ('Angry', 'Disgust', 'Fear', 'Happy', 'Neutral', 'Sad', 'Surprise')
CK = {1: 'S010', 3: 'S011', 4: 'S014', 5: 'S022', 6: 'S026', 7: 'S032'}


def small_trees():
    """Name of a corpus to a few files of it."""
    raf = {f'aligned/{s}_000{i}_aligned.jpg': None for s in ('train', 'test') for i in range(7)}
    raf['list_patition_label.txt'] = ''.join(
        f'{s}_000{i}.jpg {i + 1}\n' for s in ('train', 'test') for i in range(7)
    )
    ck = {f'{s}/001/{s}_001_0000000{i}.png': None for s in CK.values() for i in range(4)}
    ck |= {f'{s}/001/{s}_001_00000003_emotion.txt': f'{code}.0' for code, s in CK.items()}
    yield 'raf_db/aligned', raf
    yield 'ck_plus/peak3_neutral', ck
    yield (
        'jaffe/default',
        {
            f'{who}.{word}1.{i}.tiff': None
            for who in ('KA', 'KL')
            for i, word in enumerate(('AN', 'DI', 'FE', 'HA', 'NE', 'SA', 'SU'))
        },
    )
    yield (
        'oulu_casia/vl_strong_peak3_neutral',
        {
            f'VL/Strong/P00{who}/{word}/00{i}.jpeg': None
            for who in (1, 2)
            for word in WORDS
            for i in range(4)
        },
    )
    yield (
        'sfew/aligned',
        {
            f'{part}_Aligned_Faces/{word}/film_{i}.png': None
            for part in ('Train', 'Val')
            for word in SHORT
            for i in range(2)
        },
    )
    yield (
        'kdef/straight',
        {
            f'A{who}{word}S.JPG': None
            for who in ('F01', 'M01')
            for word in ('AF', 'AN', 'DI', 'HA', 'NE', 'SA', 'SU')
        },
    )


@pytest.fixture(scope='module')
def data_dir(layouts, tmp_path_factory):
    root = tmp_path_factory.mktemp('pairs')
    for name, files in small_trees():
        raw = layouts.plant(root / 'raw' / name, files)
        layouts.build(name, raw, root / 'out')
    return root / 'out'


def test_every_pair(data_dir):
    names = list(corpora.prepared(data_dir))
    assert len(names) == 6
    for source, target in itertools.permutations(names, 2):
        config = pair.get_config(f'{source},{target}')
        config.data_dir = str(data_dir)
        data = run.load_data(config, run.ROLES, lambda _: None)
        assert set(data) == set(run.ROLES)
        assert all(len(set(data[role].labels())) > 1 for role in run.ROLES)


def test_batches(data_dir):
    names = list(corpora.prepared(data_dir))
    for source, target in zip(names, names[1:] + names[:1], strict=True):
        pictures = (corpora.load(name, 'train', data_dir=data_dir) for name in (source, target))
        batch = next(pipeline.paired_batches(*pictures, batch_size=4, size_s=16, seed=0))
        assert batch['image_s'].shape == batch['image_t'].shape == (4, 16, 16, 3)
