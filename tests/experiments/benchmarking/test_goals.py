"""Which goals a file answers, and what the page looks like afterwards."""

import json

import pytest
from absl import flags

from dmsrl_jax.errors import InputError
from experiments.benchmarking import goals

PAGE = '# Performance\n\n{}\n\nmore\n'.format(
    '\n\n'.join(
        f'<!-- {name} -->\nearlier {name}\n<!-- /{name} -->'
        for name in ('goals', 'measured', 'cold')
    )
)
MACHINE = {
    'date': '2026-01-02',
    'device': '1 x cpu',
    'platform': 'cpu',
    'processor': 'Processor',
    'cores': 2,
    'load': 0.1,
    'versions': {'jax': '0.10.2'},
    'matrix_peak_flops': 2e11,
    'clock': 'wall',
}
COLD = {
    'machine': MACHINE,
    'command': 'python -m cold',
    'starts': [
        {'first_step_seconds': 30.0, 'seconds': 40.0, 'programs': 9, 'compiled': 9},
        {'first_step_seconds': 8.0, 'seconds': 12.0, 'programs': 9, 'compiled': 0},
    ],
}


def row(side, speed, against=None, share=None):
    return {
        'side': side,
        'images_per_second': speed,
        'step_seconds': 1 / speed,
        'quartiles': [1 / speed, 1 / speed],
        'start_seconds': 1.0,
        'memory_bytes': None,
        'images': 1,
        'against_eager': against,
        'model_flops': None,
        'share_of_peak': share,
    }


def result(modes, dtype='float32', **machine):
    problem = {'model': 'vgg16', 'image_size': 64, 'batch_size': 8, 'dtype': dtype}
    machine = MACHINE | machine
    return {'problem': problem, 'machine': machine, 'command': 'python b.py', 'modes': modes}


def test_goals_of_a_cpu():
    steps = [row('PyTorch eager', 100.0, 1.0), row('ours shard_map', 90.0, 0.91)]
    ends = [row('ours shard_map', 72.0), row('ours shard_map, in memory', 89.1)]
    read = [row('PyTorch DataLoader', 100.0, 1.0), row('ours grain', 250.0, 2.5)]
    found = goals.of(result({'step': steps, 'end_to_end': ends, 'pipeline': read}))
    assert [(g.text.partition(': ')[2], g.found, g.met) for g in found] == [
        ('step 1.0x PyTorch eager', '0.91x', False),
        ('end to end, in memory 95 % of the step alone', '99 %', True),
        ('end to end, from disk 95 % of the step alone', '80 %', False),
        ('decoding and batching 2x DataLoader', '2.50x', True),
    ]
    assert found[0].text.startswith('vgg16 64x64, float32: ')


def test_goals_of_several_virtual_devices_say_so():
    steps = [row('PyTorch eager', 100.0, 1.0), row('ours shard_map', 110.0, 1.1)]
    (found,) = goals.of(result({'step': steps}, device='2 x cpu'))
    assert found.text == 'vgg16 64x64, float32, 2 x cpu: step 1.0x PyTorch eager'


def test_goals_of_a_gpu():
    steps = [row('PyTorch compile', 100.0, 1.5), row('ours shard_map', 130.0, 1.9, share=0.4)]
    found = goals.of(result({'step': steps}, dtype='bfloat16', platform='gpu'))
    assert [(g.text.partition(': ')[2], g.found, g.met) for g in found] == [
        ('step 1.25x PyTorch compile', '1.30x', True),
        ('step 45 % of the matrix peak', '40 %', False),
    ]


def test_just_below_a_goal_is_not_met():
    cpu = {
        'step': [row('PyTorch eager', 100.0, 1.0), row('ours shard_map', 99.0, 0.99)],
        'end_to_end': [row('ours shard_map', 93.0), row('ours shard_map, in memory', 93.9)],
        'pipeline': [row('ours grain', 199.0, 1.99)],
    }
    steps = [row('PyTorch compile', 100.0, 1.5), row('ours shard_map', 124.0, 1.9, share=0.44)]
    gpu = goals.of(result({'step': steps}, dtype='bfloat16', platform='gpu'))
    found = [goal.met for goal in (*goals.of(result(cpu)), *gpu)]
    assert found == [False] * 6


def test_what_was_not_measured_is_no_goal():
    assert goals.of(result({'step': [row('PyTorch eager', 1.0, 1.0)], 'latency': []})) == []
    assert goals.of(result({'step': [row('ours shard_map', 1.0)]})) == []


@pytest.mark.parametrize(('compiled', 'met'), [(0, True), (1, False)])
def test_cold_starts(compiled, met):
    starts = [COLD['starts'][0], {**COLD['starts'][1], 'compiled': compiled}]
    assert goals.of({**COLD, 'starts': starts}) == [
        goals.Goal('second start: 0 programs compiled', str(compiled), met)
    ]


def test_the_page(tmp_path, capsys):
    for name, content in {
        'step': result({'step': [row('PyTorch eager', 1.0, 1.0), row('ours shard_map', 2.0, 2.0)]}),
        'cold': COLD,
    }.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    page = tmp_path / 'page.md'
    page.write_text(PAGE)
    values = flags.FlagValues()
    goals.define_flags(values)
    files = [str(tmp_path / f'{name}.json') for name in ('step', 'cold')]
    goals.main(values(['goals', f'--docs={page}', *files]), values)
    text = page.read_text()
    assert text.startswith('# Performance\n\n<!-- goals -->\n| goal | measured | met |\n')
    assert '| vgg16 64x64, float32: step 1.0x PyTorch eager | 2.00x | yes |' in text
    assert '### vgg16, 64x64, batch 8 + 8, float32\n\n    python b.py\n' in text
    assert '1 x cpu, Processor, 2 cores, 2026-01-02, jax 0.10.2, load 0.1.' in text
    assert '| second | 8.0 | 12.0 | 9 | 0 |' in text
    assert 'earlier' not in text
    assert text.endswith('<!-- /cold -->\n\nmore\n')
    assert capsys.readouterr().out.splitlines()[1] == 'met  second start: 0 programs compiled: 0'


def test_parts_that_were_not_measured_stay():
    assert 'earlier measured' in goals.page(PAGE, [COLD])


def test_mistakes(tmp_path):
    with pytest.raises(InputError, match='no part from <!-- goals --> to <!-- /goals -->'):
        goals.page('empty', [COLD])
    values = flags.FlagValues()
    goals.define_flags(values)
    with pytest.raises(InputError, match='name the files'):
        goals.main(values(['goals']), values)
    with pytest.raises(InputError, match='pass files that'):
        goals.main(values(['goals', str(tmp_path / 'absent.json')]), values)
