"""The table's cells, what the machine's description has, and a chart with every bar."""

import json

import pytest

from dmsrl_jax.errors import InputError
from experiments.benchmarking import report

ROW = {
    'side': 'ours shard_map',
    'images_per_second': 64.0,
    'step_seconds': 0.25,
    'quartiles': [0.2, 0.3],
    'start_seconds': 12.34,
    'memory_bytes': 3 * 2**20,
    'images': 16,
    'against_eager': 1.234,
    'model_flops': 2_345_000_000,
    'share_of_peak': 0.456,
}
UNKNOWN = dict.fromkeys(('memory_bytes', 'against_eager', 'model_flops', 'share_of_peak'))


def test_table():
    lines = report.table({'step': [ROW, {**ROW, 'side': 'ours pmap', **UNKNOWN}]}).splitlines()
    assert lines[0] == report.HEADER
    assert len({line.count('|') for line in lines}) == 1
    assert lines[2:] == [
        '| step | ours shard_map | 64 | 250 (200 to 300) | 1.23 | 3 | 12.3 | 2.35 | 46 |',
        '| step | ours pmap | 64 | 250 (200 to 300) | - | - | 12.3 | - | - |',
    ]


def test_machine_is_json():
    found = json.loads(json.dumps(report.machine(1e9)))
    assert found['platform'] == 'cpu'
    assert found['matrix_peak_flops'] == 1e9
    assert found['cores'] >= 1
    assert {'jax', 'flax'} <= set(found['versions'])


def test_chart(tmp_path):
    pytest.importorskip('matplotlib')
    report.chart(tmp_path / 'chart.png', 'title', {'step': [ROW, ROW], 'latency': [ROW]})
    assert (tmp_path / 'chart.png').read_bytes().startswith(b'\x89PNG')


def test_panel_draws_speed_and_quartiles():
    figure = pytest.importorskip('matplotlib.figure').Figure()
    axes = figure.subplots()
    rows = [ROW, {**ROW, 'side': 'PyTorch eager', 'images_per_second': 60.0}]
    report._panel(axes, 'end_to_end', rows)
    assert [bar.get_width() for bar in axes.patches] == [64.0, 60.0]
    assert [bar.get_hatch() or '' for bar in axes.patches] == ['', '//']
    assert [text.get_text() for text in axes.texts] == ['64', '60']
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        'ours shard_map',
        'PyTorch eager',
    ]
    assert axes.get_title(loc='left') == 'end to end: images per second'


def test_latency_is_drawn_in_milliseconds():
    axes = pytest.importorskip('matplotlib.figure').Figure().subplots()
    report._panel(axes, 'latency', [ROW])
    assert [bar.get_width() for bar in axes.patches] == [250.0]
    assert axes.get_title(loc='left') == 'latency: milliseconds (less is better)'


def test_title():
    machine = {**report.machine(1e9), 'clock': 'cpu', 'date': '2026-01-02'}
    problem = {'model': 'vgg16', 'image_size': 64, 'batch_size': 8, 'dtype': 'float32'}
    first, second = report.title({'machine': machine, 'problem': problem}).split('\n')
    assert first == 'vgg16, 64x64, batch 8 + 8, float32, processor time'
    assert second.endswith(' cores), 2026-01-02')


def test_a_chart_without_matplotlib_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'matplotlib.figure', None)
    with pytest.raises(InputError, match='pip install matplotlib, or pass --nochart'):
        report.chart(tmp_path / 'chart.png', 'title', {'step': [ROW]})
