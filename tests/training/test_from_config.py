"""How long a run is, and how much of it goes on the source alone."""

import pytest

from dmsrl_jax.errors import InputError
from dmsrl_jax.training import from_config
from experiments.configs import common


@pytest.mark.parametrize(
    ('given', 'batches', 'expected'),
    [
        ({}, 75, 1875),
        ({}, 60, 1500),
        ({}, 3, 1500),  # a small source is passed over more often
        ({'epochs': 2}, 3, 6),
        ({'steps': 45}, 75, 45),
        ({'steps': 45, 'epochs': 2}, 75, 45),
        ({'length.epochs': 5, 'length.steps': 300}, 75, 375),
        ({'length.epochs': 5, 'length.steps': 300}, 3, 300),
    ],
)
def test_steps_come_before_epochs_and_these_before_the_usual_length(given, batches, expected):
    config = common.get_config('a,b')
    config.update_from_flattened_dict(given)
    assert from_config.length(config, batches) == expected


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'eval_batch_size': 0}, 'eval_batch_size must be at least 1, got 0'),
        ({'batch_size': -1}, '^batch_size must be at least 1, got -1'),
        ({'log_every': 0}, 'log_every must be at least 1, got 0'),
        ({'checkpoint_every': 0}, 'checkpoint_every must be at least 1'),
        ({'keep_checkpoints': 0}, 'keep_checkpoints must be at least 1'),
        ({'accumulate': 0}, 'accumulate must be at least 1'),
        ({'image_size': -1}, 'image_size must be at least 1'),
        ({'eval_every': -1}, 'eval_every must be at least 0'),
        ({'devices': -1}, 'devices must be at least 0'),
        ({'length.steps': -1}, r'length\.steps must be at least 0'),
        ({'seed': 2**32}, '^seed must be at most 4294967295, got 4294967296'),
        ({'average_decay': 1.0}, r'average_decay must be in \[0, 1\), got 1.0'),
        ({'augment.match': 1.5}, r'augment.match must be in \[0, 1\], got 1.5'),
        ({'augment.match': float('nan')}, r'augment.match must be a finite number .*, got nan'),
        ({'average_decay': float('nan')}, 'average_decay must be a finite number .*, got nan'),
        ({'dmsrl.alpha': 1e300}, r'dmsrl.alpha must be a finite number of float32, got 1e\+300'),
        ({'optimizer.warmup_steps': 2**31}, 'optimizer.warmup_steps must be at most 2147483647'),
        ({'eval_batch_size': 10**9}, 'eval_batch_size must be at most 65536, got 1000000000'),
        ({'augment.source.bgr': True}, 'must be the same: .*, got True and False'),
    ],
)
def test_numbers_out_of_range(changes, message):
    config = common.get_config('a,b')
    from_config.check(config)
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=message):
        from_config.check(config)


def test_steps_are_counted_in_32_bits():
    config = common.get_config('a,b')
    config.steps = 2**31 - 1
    assert from_config.length(config, 1) == 2**31 - 1
    config.steps += 1
    with pytest.raises(InputError, match='would have 2147483648 steps, at most 2147483647'):
        from_config.length(config, 1)


@pytest.mark.parametrize(
    ('share', 'total', 'expected'),
    [(0.0, 100, 0), (0.7, 1500, 1050), (0.7, 1, 0), (0.7, 2, 1), (0.7, 90, 63), (0.999, 10, 9)],
)
def test_adaptation_has_one_step_at_least(share, total, expected):
    config = common.get_config('a,b')
    config.adapt_from = share
    assert from_config.source_steps(config, total) == expected


@pytest.mark.parametrize('share', [1.0, -0.1, 70])
def test_the_source_cannot_have_all_of_a_run(share):
    config = common.get_config('a,b')
    config.adapt_from = float(share)
    with pytest.raises(InputError, match=rf'adapt_from must be in \[0, 1\), got {float(share)}'):
        from_config.source_steps(config, 10)
