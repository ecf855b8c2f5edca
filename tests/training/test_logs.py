"""metrics.jsonl, TensorBoard and the lines for people."""

import io
import json
import pathlib

import pytest

from dmsrl_jax.training import logs


class Terminal(io.StringIO):
    def isatty(self):
        return True


def open_log(tmp_path, *, start=0, stream=None, shown=('margin', 'mutual_information')):
    stream = stream or io.StringIO()
    return logs.RunLog(tmp_path, total_steps=10, start=start, stream=stream, shown=shown)


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]


def test_one_object_per_line_at_once(tmp_path):
    log = open_log(tmp_path)
    log.write(1, {'loss': 0.5, 'coverage': 1.0})
    assert lines(tmp_path) == [{'step': 1, 'loss': 0.5, 'coverage': 1.0}]  # before close
    log.write(2, {'loss': 0.25})
    log.close()
    assert [line['step'] for line in lines(tmp_path)] == [1, 2]


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(tmp_path):
    log = open_log(tmp_path)
    for number in range(1, 6):
        log.write(number, {'loss': float(number)})
    log.close()
    log = open_log(tmp_path, start=3)
    log.write(4, {'loss': 40.0})
    log.close()
    assert [(x['step'], x['loss']) for x in lines(tmp_path)] == [(1, 1), (2, 2), (3, 3), (4, 40)]


@pytest.mark.parametrize(
    'tail', [b'{"step": 2, "lo', b'{"loss": 1.0}\n', b'null\n', b'\x00\x00\x00', b'\xff\xfe{\n']
)
def test_a_line_cut_short_by_a_kill_goes(tmp_path, tail):
    (tmp_path / 'metrics.jsonl').write_bytes(b'{"step": 1, "loss": 1.0}\n' + tail)
    log = open_log(tmp_path, start=5)
    log.write(6, {'loss': 6.0})
    log.close()
    assert [line['step'] for line in lines(tmp_path)] == [1, 6]


def test_a_kill_while_the_log_is_cut_loses_nothing(tmp_path, monkeypatch):
    text = '{"step": 1, "loss": 1.0}\n{"step": 2, "loss": 1.0}\n'
    (tmp_path / 'metrics.jsonl').write_text(text)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pathlib.Path, 'replace', killed)
    with pytest.raises(KeyboardInterrupt):
        open_log(tmp_path, start=1)
    assert (tmp_path / 'metrics.jsonl').read_text() == text


def test_a_fresh_run_starts_an_empty_file(tmp_path):
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "loss": 1.0}\n')
    open_log(tmp_path, start=0).close()
    assert lines(tmp_path) == []


def test_plain_lines_without_a_terminal(tmp_path):
    stream = io.StringIO()
    log = open_log(tmp_path, stream=stream)
    metrics = {'loss': 1.23456, 'classification': 1.0, 'images_per_second': 321.4, 'other': 5.0}
    log.write(5, metrics)
    log.write(6, {'loss': 1.0}, show=False)
    log.say('hello')
    log.close()
    first, second = stream.getvalue().splitlines()
    assert first.startswith('step 5/10, 321 img/s, loss 1.23, classification 1, ')
    assert first.endswith(' s left')
    assert 'other' not in first
    assert second == 'hello'
    assert '\r' not in stream.getvalue()


@pytest.mark.parametrize(
    ('target_from', 'step', 'left'),
    # In the last, 7 s for 4 + 2 * 2 of 12 batches, of which 2 * 2 are left.
    [(None, 5, 12), (10, 5, 12), (0, 5, 12), (6, 5, 21), (6, 8, 4)],
)
def test_steps_with_a_target_count_twice_in_the_time_left(
    tmp_path, monkeypatch, target_from, step, left
):
    stream = io.StringIO()
    monkeypatch.setattr(logs.time, 'monotonic', lambda: 100.0)
    log = logs.RunLog(tmp_path, total_steps=10, start=2, target_from=target_from, stream=stream)
    monkeypatch.setattr(logs.time, 'monotonic', lambda: 107.0)
    log.write(step, {})
    log.close()
    assert stream.getvalue() == f'step {step}/10, {left} s left\n'


@pytest.mark.parametrize(
    ('shown', 'told'),
    [
        (None, 'loss 1, classification 2, domain 3, entropy 4'),
        ((), 'loss 1, classification 2'),
        (('entropy', 'absent'), 'loss 1, classification 2, entropy 4'),
    ],
)
def test_a_method_says_what_is_shown(tmp_path, shown, told):
    stream = io.StringIO()
    log = open_log(tmp_path, stream=stream, shown=shown)
    metrics = {'domain': 3, 'entropy': 4, 'gradient_norm': 5, 'classification': 2, 'loss': 1}
    log.write(5, metrics)
    log.close()
    assert stream.getvalue().startswith(f'step 5/10, {told}, 0 s left')


def test_one_bar_on_a_terminal(tmp_path):
    stream = Terminal()
    log = open_log(tmp_path, stream=stream)
    for number in (5, 10):
        log.write(number, {'loss': 1.5, 'mutual_information': 0.25, 'images_per_second': 10.0})
    log.say('a line between')
    log.close()
    text = stream.getvalue()
    assert '10/10 steps' in text
    assert '00:00 left 10 img/s loss 1.5' in text
    assert 'loss 1.5 mi 0.25' in text
    assert 'a line between\n' in text
    # The bar rewrites its line; only the message and the end of the bar begin a new one.
    assert text.count('\n') == 2


def test_tensorboard_holds_the_scalars(tmp_path):
    from tensorboardX.proto import event_pb2

    log = open_log(tmp_path)
    log.write(1, {'loss': 0.5})
    log.write(2, {'loss': 0.25, 'target_test/accuracy': 0.75})
    log.close()
    (path,) = tmp_path.glob('events.out.tfevents.*')
    data, found = path.read_bytes(), []
    while data:  # records: length uint64, its checksum uint32, the event, its checksum uint32
        size = int.from_bytes(data[:8], 'little')
        event = event_pb2.Event.FromString(data[12 : 12 + size])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        data = data[16 + size :]
    assert found == [(1, 'loss', 0.5), (2, 'loss', 0.25), (2, 'target_test/accuracy', 0.75)]


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'result.json'
    logs.write_json(path, {'a': [1, 2]})
    with pytest.raises(TypeError):
        logs.write_json(path, {'a': object()})
    assert json.loads(path.read_text()) == {'a': [1, 2]}
    assert [p.name for p in tmp_path.iterdir()] == ['result.json']
