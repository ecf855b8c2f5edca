import io
import json
import signal
import subprocess
import sys
import threading

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest
from PIL import Image

from dmsrl_jax.data import pipeline, reading
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import NO_LABEL


class Toy:
    """Image i is one colour, (i, kind, 0); at top level, so that workers can unpickle it."""

    split = 'train'

    def __init__(self, count, kind=0, bad=None):
        self.name, self.records = f'toy{kind}', []
        for index in range(count):
            file = io.BytesIO()
            Image.new('RGB', (4, 4), (index, kind, 0)).save(file, 'PNG')
            data = b'broken' if index == bad else file.getvalue()
            self.records.append({'image': data, 'label': index % 7, 'file': f'{kind}/{index}.png'})

    def __len__(self):
        return len(self.records)

    def __getitem__(self, index):
        return self.records[index]


KILLED = """
import multiprocessing, os, signal
from tests.data.test_pipeline import Toy, start

batches = start(Toy(8), None, in_memory=False, workers=1)
next(batches)
print(len(multiprocessing.active_children()), 'worker', flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


class Unlabelled(dict):
    """A record whose label must not be looked at."""

    def __getitem__(self, name):
        assert name != 'label', 'somebody read the label of a target image'
        return super().__getitem__(name)

    def get(self, name, default=None):
        assert name != 'label', 'somebody read the label of a target image'
        return super().get(name, default)


def unlabelled(count):
    corpus = Toy(count, kind=1)
    corpus.records = [Unlabelled(record) for record in corpus.records]
    return corpus


def start(source, target, **options):
    options = {'batch_size': 4, 'size_s': 4, 'seed': 0} | options
    return pipeline.paired_batches(source, target, **options)


def numbers(images):
    return images[:, 0, 0, 0].tolist()


def take(batches, steps, field='image_s'):
    return [numbers(next(batches)[field]) for _ in range(steps)]


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.fixture
def settings():
    with start(Toy(10), Toy(7, kind=1)) as batches:
        return batches.settings


class TestPairs:
    @pytest.mark.parametrize('in_memory', [True, False])
    def test_shapes_types_and_matching_labels(self, in_memory):
        with start(Toy(10), Toy(7, kind=1), size_s=5, size_t=6, in_memory=in_memory) as batches:
            batch = next(batches)
        assert {name: (values.shape, values.dtype.name) for name, values in batch.items()} == {
            'image_s': ((4, 5, 5, 3), 'uint8'),
            'label_s': ((4,), 'int32'),
            'image_t': ((4, 6, 6, 3), 'uint8'),
        }
        assert [n % 7 for n in numbers(batch['image_s'])] == batch['label_s'].tolist()
        assert np.unique(batch['image_s'][..., 1]).tolist() == [0]
        assert np.unique(batch['image_t'][..., 1]).tolist() == [1]

    @pytest.mark.parametrize('in_memory', [True, False])
    def test_target_labels_are_never_read(self, in_memory):
        with start(Toy(8), unlabelled(8), in_memory=in_memory) as batches:
            for _ in range(4):
                assert set(next(batches)) == {'image_s', 'label_s', 'image_t'}

    def test_source_labels_are_read(self):
        with pytest.raises(AssertionError, match='read the label'):
            start(unlabelled(8), Toy(8))

    def test_source_only(self):
        with start(Toy(9), None) as batches:
            assert set(next(batches)) == {'image_s', 'label_s'}
            assert batches.source_batches_per_epoch == 2
            assert batches.target_batches_per_epoch is None

    @pytest.mark.parametrize(
        'options',
        [{}, {'in_memory': False}, {'in_memory': False, 'workers': 2}],
        ids=['in memory', 'on demand', 'workers'],
    )
    def test_the_target_joins_later_and_nothing_else_changes(self, options):
        source, target = Toy(10), Toy(7, kind=1)
        with (
            start(source, target) as always,
            start(source, target, target_from=3, **options) as late,
        ):
            for number in range(7):
                batch = next(always)
                if number < 3:
                    del batch['image_t']
                same(batch, next(late))

    def test_no_target_image_is_read_before_it_joins(self, monkeypatch):
        target, read = Toy(8, kind=1), []
        getitem = Toy.__getitem__
        spy = lambda self, index: (self is target and read.append(index)) or getitem(self, index)
        monkeypatch.setattr(Toy, '__getitem__', spy)
        with start(Toy(8), target, target_from=100, in_memory=False) as batches:
            take(batches, 5)
        assert not read

    def test_epochs_of_different_lengths(self):
        with start(Toy(12), Toy(8, kind=1)) as batches:
            assert batches.source_batches_per_epoch == 3
            assert batches.target_batches_per_epoch == 2
            drawn = [next(batches) for _ in range(6)]
        source = [n for batch in drawn for n in numbers(batch['image_s'])]
        target = [n for batch in drawn for n in numbers(batch['image_t'])]
        for epoch in (source[:12], source[12:]):
            assert sorted(epoch) == list(range(12))
        for epoch in (target[:8], target[8:16], target[16:]):
            assert sorted(epoch) == list(range(8))

    def test_short_last_batch_is_dropped_anew_in_each_epoch(self):
        with start(Toy(11), None) as batches:
            epochs = [set().union(*take(batches, 2)) for _ in range(12)]
        assert all(len(epoch) == 8 for epoch in epochs)
        assert set().union(*epochs) == set(range(11))

    def test_file_order(self):
        with start(Toy(8), Toy(10, kind=1), target_shuffle=False, source_shuffle=False) as batches:
            drawn = [next(batches) for _ in range(3)]
        wanted = [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]]
        assert [numbers(batch['image_t']) for batch in drawn] == wanted
        assert [numbers(batch['image_s']) for batch in drawn] == wanted


def test_a_source_without_labels_is_refused():
    nobody = Toy(8)
    nobody.records = [{**record, 'label': NO_LABEL} for record in nobody.records]
    with pytest.raises(InputError, match=r'toy0\[train\] has no labels: it can be the target'):
        start(nobody, Toy(8, kind=1))
    with start(Toy(8), nobody) as batches:
        assert set(next(batches)) == {'image_s', 'label_s', 'image_t'}


class TestShuffle:
    def test_seed_decides_the_order(self):
        orders = []
        for seed in (0, 0, 1):
            with start(Toy(40), None, seed=seed) as batches:
                orders.append(take(batches, 10))
        assert orders[0] == orders[1]
        assert orders[0] != orders[2]
        assert orders[0] != [list(range(i, i + 4)) for i in range(0, 40, 4)]

    def test_each_epoch_and_each_stream_has_its_own_order(self):
        with start(Toy(40), Toy(40, kind=1)) as batches:
            drawn = [next(batches) for _ in range(20)]
        source = [numbers(batch['image_s']) for batch in drawn]
        target = [numbers(batch['image_t']) for batch in drawn]
        assert source[:10] != source[10:]
        assert source[:10] != target[:10]

    def test_the_target_does_not_disturb_the_source(self):
        with start(Toy(12), None) as alone, start(Toy(12), Toy(5, kind=1)) as paired:
            assert take(alone, 5) == take(paired, 5)


class TestModes:
    def test_in_memory_and_decoded_beforehand_equal_on_demand(self):
        decoded = reading.decode_all(Toy(10), 4)
        target = Toy(7, kind=1)
        with (
            start(Toy(10), target, in_memory=False) as demand,
            start(Toy(10), target) as memory,
            start(decoded, target) as beforehand,
        ):
            for _ in range(6):
                batch = next(demand)
                same(batch, next(memory))
                same(batch, next(beforehand))

    def test_worker_process_gives_the_same_batches(self):
        target = Toy(7, kind=1)
        with (
            start(Toy(10), target, in_memory=False, workers=1) as process,
            start(Toy(10), target, in_memory=False) as threads,
        ):
            process.start()
            for _ in range(5):
                batch = next(process)
                assert all(type(values) is np.ndarray for values in batch.values())
                same(batch, next(threads))

    def test_workers_end_with_the_process_that_started_them(self):
        # They hold the other end of the pipe: it is closed when the last of them is gone.
        killed = subprocess.run(
            [sys.executable, '-c', KILLED], capture_output=True, text=True, timeout=120
        )
        assert killed.returncode == -signal.SIGKILL
        assert killed.stdout.split() == ['1', 'worker']

    def test_workers_are_of_no_use_in_memory(self):
        with start(Toy(8), None, workers=3) as batches:
            assert batches.settings['workers'] == 0

    def test_progress(self):
        seen = []
        start(Toy(130), None, progress=lambda done, total: seen.append((done, total))).close()
        assert seen == [(64, 130), (128, 130), (130, 130)]

    def test_modules_for_workers_do_not_import_jax(self):
        code = (
            'import sys, dmsrl_jax.data.pipeline; '
            'sys.exit(any(m in sys.modules for m in ("jax", "grain", "absl.flags")))'
        )
        assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


class TestProcesses:
    @pytest.mark.parametrize('in_memory', [True, False])
    def test_shards_are_disjoint_and_cover_everything(self, in_memory):
        shards = []
        for index in range(3):
            options = {'process_index': index, 'process_count': 3, 'in_memory': in_memory}
            with start(Toy(24), Toy(12, kind=1), **options) as batches:
                assert batches.source_batches_per_epoch == 2
                drawn = [next(batches) for _ in range(2)]
            shards.append([n for batch in drawn for n in numbers(batch['image_s'])])
        assert sorted(shards[0] + shards[1] + shards[2]) == list(range(24))
        assert [len(set(shard)) for shard in shards] == [8, 8, 8]

    def test_together_they_draw_what_one_process_draws(self):
        with start(Toy(17), Toy(9, kind=1), batch_size=8) as alone:
            wanted = [next(alone) for _ in range(5)]
        parts = []
        for index in range(2):
            with start(Toy(17), Toy(9, kind=1), process_index=index, process_count=2) as batches:
                parts.append([next(batches) for _ in range(5)])
        for whole, one, other in zip(wanted, *parts, strict=True):
            same(whole, {name: np.concatenate([one[name], other[name]]) for name in one})


class TestResume:
    @pytest.mark.parametrize('in_memory', [True, False])
    def test_exact_at_every_step(self, in_memory):
        source, target, steps = Toy(10), Toy(7, kind=1), 6
        with start(source, target, in_memory=in_memory) as batches:
            states, drawn = [], []
            for _ in range(steps):
                states.append(json.loads(json.dumps(batches.get_state())))
                drawn.append(next(batches))
        for step, state in enumerate(states):
            with start(source, target, in_memory=in_memory) as again:
                again.set_state(state)
                for batch in drawn[step:]:
                    same(batch, next(again))

    def test_exact_at_every_step_with_a_worker_process(self):
        source, target, steps = Toy(10), Toy(7, kind=1), 4
        with start(source, target, in_memory=False, workers=1) as batches:
            states, drawn = [], []
            for _ in range(steps):
                states.append(json.loads(json.dumps(batches.get_state())))
                drawn.append(next(batches))
        with start(source, target, in_memory=False, workers=1) as again:
            for step, state in reversed(list(enumerate(states))):
                again.set_state(state)
                for batch in drawn[step:]:
                    same(batch, next(again))

    def test_grain_checkpoint_of_the_inner_iterator(self, tmp_path):
        with start(Toy(10), Toy(7, kind=1)) as batches:
            next(batches)
            with ocp.CheckpointManager(tmp_path) as manager:
                save = grain.checkpoint.CheckpointSave(batches.iterator)
                manager.save(1, args=ocp.args.Composite(data=save))
                manager.wait_until_finished()
                wanted = [next(batches) for _ in range(3)]
                with start(Toy(10), Toy(7, kind=1)) as again:
                    restore = grain.checkpoint.CheckpointRestore(again.iterator)
                    manager.restore(1, args=ocp.args.Composite(data=restore))
                    for batch in wanted:
                        same(batch, next(again))

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            ({'workers': 2, 'in_memory': False}, 'workers was 0 and is now 2'),
            ({'seed': 5}, 'seed was 0 and is now 5'),
            ({'batch_size': 2}, 'global_batch was 4 and is now 2'),
            ({'target_from': 3}, 'target_from was 0 and is now 3'),
            ({'target_shuffle': False}, r'shuffle was \[True, True\] and is now \[True, False\]'),
        ],
    )
    def test_other_settings_are_refused(self, settings, change, message):
        with (
            start(Toy(10), Toy(7, kind=1), **change) as batches,
            pytest.raises(InputError, match=f'cannot resume the input pipeline: {message}'),
        ):
            batches.set_state({'settings': settings, 'iterator': {'next_index': 1}})

    def test_other_corpora_are_refused(self, settings):
        with start(Toy(11), Toy(7, kind=1)) as batches:
            with pytest.raises(InputError, match=r'images was \[10, 7\] and is now \[11, 7\]'):
                pipeline.check_state(settings, batches.settings)
            with pytest.raises(InputError, match='seed was None'):
                pipeline.check_state({}, batches.settings)

    def test_same_global_batch_on_more_processes_is_accepted(self, settings):
        options = {'batch_size': 2, 'process_index': 1, 'process_count': 2}
        with start(Toy(10), Toy(7, kind=1), **options) as batches:
            pipeline.check_state(json.loads(json.dumps(settings)), batches.settings)
            assert batches.settings == settings


class TestMistakes:
    def test_corpus_smaller_than_a_batch(self):
        message = (
            r'toy1\[train\] has 5 images, fewer than one batch of 6 \(3 on each of 2 processes\); '
            'set batch_size to at most 4, all processes together'
        )
        with pytest.raises(InputError, match=message):
            start(Toy(9), Toy(5, kind=1), batch_size=3, process_count=2)

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({'batch_size': 0}, 'batch_size must be at least 1, got 0'),
            ({'workers': -1}, 'workers must be 0 or more'),
            ({'seed': -1}, 'seed must be 0 or more, got -1'),
            ({'process_index': 2, 'process_count': 2}, r'process_index must be in 0\.\.1, got 2'),
        ],
    )
    def test_numbers_out_of_range(self, options, message):
        with pytest.raises(InputError, match=message):
            start(Toy(8), None, **options)

    @pytest.mark.parametrize('options', [{'in_memory': False}, {'in_memory': True}])
    def test_corrupt_image_is_named(self, options):
        with pytest.raises(InputError, match=r"cannot decode image '0/3\.png'"):  # noqa: SIM117
            with start(Toy(4, bad=3), None, **options) as batches:
                next(batches)

    def test_corrupt_image_in_a_worker_process_is_named(self):
        with (
            start(Toy(4, bad=3), None, in_memory=False, workers=1) as batches,
            pytest.raises(InputError, match=r"^cannot decode image '0/3\.png': not an image file"),
        ):
            next(batches)

    def test_other_errors_keep_their_type(self):
        corpus = Toy(4)
        del corpus.records[2]['image']
        with start(corpus, None, in_memory=False) as batches, pytest.raises(KeyError):
            next(batches)

    def test_too_large_for_memory(self, monkeypatch):
        monkeypatch.setattr(reading, 'available_memory', lambda: 2**30)
        corpus = Toy(4)
        with pytest.raises(
            InputError,
            match=r'toy0\[train\] \(4 images of side 16384\) needs 3\.0 GiB.*1\.0 GiB are',
        ):
            start(corpus, None, size_s=16384)
        monkeypatch.setattr(reading, 'available_memory', lambda: None)
        start(corpus, None).close()

    @pytest.mark.parametrize(
        ('limit', 'used', 'free'),
        [('max', 0, 8000), (6 * 2**20, 2**20, 5 * 1024), (2**40, 0, 8000), (1, 2**20, 0)],
    )
    def test_available_memory_is_what_the_machine_and_the_group_leave(
        self, monkeypatch, limit, used, free
    ):
        files = {
            '/proc/meminfo': 'MemTotal: 9000 kB\nMemAvailable:    8000 kB\n',
            '/sys/fs/cgroup/memory.max': f'{limit}\n',
            '/sys/fs/cgroup/memory.current': f'{used}\n',
        }
        monkeypatch.setattr(reading.pathlib.Path, 'read_text', lambda path: files[str(path)])
        assert reading.available_memory() == free * 1024

    def test_available_memory_is_plausible(self):
        free = reading.available_memory()
        assert free is None or 2**20 < free < 2**50

    def test_decoded_at_another_size_or_without_labels(self):
        with pytest.raises(InputError, match='decoded at side 4, not at 5'):
            start(reading.decode_all(Toy(8), 4), None, size_s=5)
        with pytest.raises(InputError, match='corpus has no labels: it can be the target'):
            start(reading.decode_all(Toy(8), 4, labels=False), None)

    def test_closed(self):
        batches = start(Toy(8), None)
        batches.close()
        batches.close()
        with pytest.raises(RuntimeError, match='pipeline is closed'):
            next(batches)


class TestEvaluation:
    def test_each_image_once_in_order_with_a_padded_end(self):
        batches = list(pipeline.evaluation_batches(Toy(10), batch_size=4, size=4))
        assert [batch['mask'].tolist() for batch in batches] == [[1] * 4, [1] * 4, [1, 1, 0, 0]]
        assert batches[2]['index'].tolist() == [8, 9, -1, -1]
        assert batches[2]['label'].tolist() == [1, 2, 0, 0]
        assert numbers(batches[2]['image']) == [8, 9, 0, 0]
        assert [n for batch in batches for n in numbers(batch['image'])][:10] == list(range(10))
        shapes = {name: (v.shape, v.dtype.name) for name, v in batches[2].items()}
        assert shapes == {
            'image': ((4, 4, 4, 3), 'uint8'),
            'label': ((4,), 'int32'),
            'mask': ((4,), 'float32'),
            'index': ((4,), 'int32'),
        }

    def test_decoded_equals_on_demand(self):
        decoded = reading.decode_all(Toy(10), 6, threads=1)
        pairs = zip(
            pipeline.evaluation_batches(Toy(10), batch_size=4, size=6),
            pipeline.evaluation_batches(decoded, batch_size=4, size=6),
            strict=True,
        )
        for one, other in pairs:
            same(one, other)

    @pytest.mark.parametrize('count', [1, 5, 8, 13])
    def test_processes_step_together_and_share_the_images(self, count):
        shards = [
            list(
                pipeline.evaluation_batches(
                    Toy(count), batch_size=2, size=4, process_index=index, process_count=3
                )
            )
            for index in range(3)
        ]
        assert len({len(shard) for shard in shards}) == 1
        counted = [
            index
            for shard in shards
            for batch in shard
            for index, mask in zip(batch['index'].tolist(), batch['mask'], strict=True)
            if mask
        ]
        assert sorted(counted) == list(range(count))

    def test_images_on_demand_are_decoded_side_by_side(self, monkeypatch):
        monkeypatch.setattr(reading, 'usual_threads', lambda: 2)
        both, record = threading.Barrier(2), reading.OnDemand.record

        def together(self, index):
            both.wait(timeout=60)  # breaks where there is one thread
            return record(self, index)

        monkeypatch.setattr(reading.OnDemand, 'record', together)
        (batch,) = pipeline.evaluation_batches(Toy(4), batch_size=4, size=4)
        assert batch['index'].tolist() == [0, 1, 2, 3]

    def test_empty_corpus(self):
        with pytest.raises(InputError, match=r'toy0\[train\] has no image to evaluate'):
            pipeline.evaluation_batches(Toy(0), batch_size=4, size=4)
