"""Any two prepared corpora make a pair."""

import itertools
import json

import numpy as np
import pytest

from dmsrl_jax.data import corpora, pipeline
from dmsrl_jax.training import loop, run
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
    ck = {f'{s}/001/{s}_001_0000000{i}.png': None for s in CK.values() for i in range(1, 5)}
    ck |= {f'{s}/001/{s}_001_00000004_emotion.txt': f'{code}.0' for code, s in CK.items()}
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


def listed_trees(draw):
    """The same for corpora that are one list: several picture sizes, grey and colour, extras."""
    raf2 = {f'RAFall/{i}.jpg': draw(f'{i}', size=(40, 30), kind='JPEG') for i in range(21)}
    yield 'raf_db2/default', raf2 | {'RAFlist.txt': lines('{i}.jpg {code}', 21)}
    mood = '0.5,-0.25'
    affect = {
        f'{part}.csv': lines('1/{i}.png,4,6,10,14,,{code},' + mood, 21, start)
        for part, start in (('training', 0), ('validation', 30))
    }
    names = [f'Images/1/{i}.png' for i in (*range(21), *range(30, 51))]
    yield 'affectnet/csv', affect | {name: draw(name, size=(24, 24)) for name in names}
    expw = {f'origin/{i}.jpg': draw(f'{i}', size=(30, 40), kind='JPEG') for i in range(21)}
    yield 'expw/default', expw | {'label.lst': lines('{i}.jpg 0 2 2 22 22 9.5 {code}', 21)}
    afe = {f'src/image/{i}.jpg': None for i in range(14)}
    afe['annos/TrainTest/Train.csv'] = lines('{i}.jpg 1 1 20 20 {code}', 7)
    afe['annos/TrainTest/Test.csv'] = lines('{i}.jpg 1 1 20 20 {code}', 7, 7)
    yield 'afe/default', afe
    rows = [(usage, i) for usage in ('Training', 'PublicTest', 'PrivateTest') for i in range(7)]
    faces = '\n'.join(f'{i},{" ".join(["7"] * 2304)},{usage}' for usage, i in rows)
    fer = {'fer2013.csv': f'emotion,pixels,Usage\n{faces}\n'}
    yield 'fer2013/default', fer
    words = 'neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF'
    votes = (','.join('9' if i == j else '0' for j in range(10)) for _, i in rows)
    votes = '\n'.join(f'{usage},,{v}' for (usage, _), v in zip(rows, votes, strict=True))
    yield 'fer_plus/majority', fer | {'fer2013new.csv': f'Usage,Image name,{words}\n{votes}\n'}
    mine = {f'faces/{i}.png': draw(f'{i}', size=(20, 20)) for i in range(42)}
    names = ('happy', 'Sadness', 'ANGRY', 'neutral', 'fear', 'disgust', 'surprised')
    rows = '\n'.join(f'faces/{i}.png,{names[i % 7]}' for i in range(42))
    yield 'image_list/mine', mine | {'list.csv': f'file,expression\n{rows}\n'}


def filmed_trees(film):
    """The same for the corpus that is made of films: fourteen clips of as many persons."""
    clip = film([np.full((32, 32, 3), 20 * i, np.uint8) for i in range(5)])
    mmi = {}
    for i in range(14):
        name = f'Sessions/{i}/S{i:03d}-001'
        mmi[f'{name}.avi'] = clip
        tag = f'<Metatag Name="Emotion" Value="{i % 6 + 1}"/>'
        mmi[f'{name}.xml'] = f'<?xml version="1.0"?><Metadata>{tag}</Metadata>'
        mmi[f'Sessions/{i}/session.xml'] = '<session><track view="0"/></session>'
    yield 'mmi/peak3_neutral', mmi


def lines(form, count, start=0):
    return '\n'.join(form.format(i=start + i, code=i % 7) for i in range(count))


@pytest.fixture(scope='module')
def data_dir(layouts, tmp_path_factory):
    root = tmp_path_factory.mktemp('pairs')
    for name, files in (*small_trees(), *listed_trees(layouts.draw), *filmed_trees(layouts.film)):
        raw = layouts.plant(root / 'raw' / name, files)
        layouts.build(name, raw, root / 'out')
    return root / 'out'


def test_every_corpus_is_source_and_target(data_dir):
    names = list(corpora.prepared(data_dir))
    assert {name.partition('/')[0] for name in names} == set(corpora.registered()) - {
        'synthetic_faces'
    }
    # A pair is loaded role by role, so it is enough to see each corpus in either role.
    for source, target in zip(names, names[1:] + names[:1], strict=True):
        config = pair.get_config(f'{source},{target}')
        config.data_dir = str(data_dir)
        data = run.load_data(config, lambda _: None)
        assert set(data) == set(run.ROLES)
        assert all(len(set(data[role].labels())) > 1 for role in run.ROLES)


def test_batches(data_dir):
    names = list(corpora.prepared(data_dir))
    for source, target in itertools.permutations(names, 2):
        pictures = (corpora.load(name, 'train', data_dir=data_dir) for name in (source, target))
        batch = next(pipeline.paired_batches(*pictures, batch_size=4, size_s=16, seed=0))
        assert batch['image_s'].shape == batch['image_t'].shape == (4, 16, 16, 3)


def test_a_config_for_any_two_names():
    for source, target in itertools.permutations(corpora.registered(), 2):
        config = pair.get_config(f'{source},{target}').lock()
        assert (config.source, config.target) == (source, target)
        protocol = next(iter(getattr(corpora.builder_module(target), 'PROTOCOLS', {})), 'mine')
        config = pair.get_config(f'{source},{target}/{protocol}')
        assert config.target == f'{target}/{protocol}'


def test_training_on_other_sizes_and_features(data_dir, tmp_path):
    config = pair.get_config('fer2013,affectnet')  # grey and 48x48; colour, cut, with valence
    changes = {'data_dir': str(data_dir), 'steps': 2, 'batch_size': 4, 'devices': 1}
    changes |= {'method': 'source_only', 'image_size': 16, 'eval_batch_size': 8}
    config.update_from_flattened_dict(changes)
    loop.train(config.lock(), tmp_path)
    result = json.loads((tmp_path / 'result.json').read_text())
    assert (result['source'], result['target']) == ('fer2013', 'affectnet')
    assert result['target_test']['count'] == 21  # validation, since there is no test
    assert result['source_test']['count'] == 7
