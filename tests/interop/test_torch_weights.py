"""Weights from and to PyTorch: files, wrappers, partial and wrong ones, and training from them."""

import pathlib
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from absl import flags

from dmsrl_jax import models
from dmsrl_jax.errors import InputError
from dmsrl_jax.interop import torch_files, torch_keys, torch_weights
from dmsrl_jax.models.multilevel import window_side
from experiments import weights
from experiments.pytorch_baseline import models as torch_models

NAME, SIZE = 'tiny_multilevel', 32


@pytest.fixture(scope='module')
def twin():
    torch.manual_seed(0)
    network = torch_models.create(NAME, image_size=SIZE)
    network(torch.rand(4, 3, SIZE, SIZE))  # running statistics away from 0 and 1
    return network


@pytest.fixture(scope='module')
def state_dict(twin):
    return {key: value.numpy().copy() for key, value in twin.state_dict().items()}


@pytest.fixture(scope='module')
def fresh():
    return jax.jit(models.create(NAME).init)(jax.random.key(1), jnp.zeros((2, SIZE, SIZE, 3)))


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def without(state_dict, *prefixes):
    return {k: v for k, v in state_dict.items() if not k.startswith(prefixes)}


@pytest.mark.parametrize('name', models.names())
def test_every_variable_has_a_key_and_every_key_a_variable(name):
    """Names and shapes of both sides at full size; nothing is computed."""
    size = torch_models.IMAGE_SIZES[name]
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    shapes = jax.eval_shape(models.create(name).init, jax.random.key(0), images)
    ours = {
        tuple(part.key for part in path)
        for path, _ in jax.tree_util.tree_leaves_with_path(dict(shapes))
    }
    entries = torch_keys.entries(name)
    assert {entry.path for entry in entries} == ours
    with torch.device('meta'):
        theirs = set(torch_models.create(name).state_dict())
    assert {e.key for e in entries} == {k for k in theirs if not k.endswith('batches_tracked')}


def test_the_names_of_the_authors_and_of_torchvision():
    keys = {name: {entry.key for entry in torch_keys.entries(name)} for name in models.names()}
    assert {
        'features.0.weight',
        'features.41.running_var',
        'sp_unit1.localnet.0.weight',
        'sp_unit9.localnet.10.bias',
        'fc1.0.weight',
        'fc2.0.bias',
        'fc3.weight',
    } <= keys['vgg16_multilevel']
    assert {
        'conv1.weight',
        'bn1.bias',
        'layer1.0.downsample.1.running_mean',
        'layer4.2.conv3.weight',
        'adlayer3.bias',
        'fc1.weight',
    } <= keys['resnet50_multilevel']
    assert not any(key.startswith('sp_unit') for key in keys['vgg16'])


def test_values_land_where_they_belong(state_dict):
    variables = torch_weights.load(NAME, state_dict)
    backbone, stats = variables['params']['backbone'], variables['batch_stats']['backbone']
    kernel = backbone['block1']['conv']['kernel']
    assert kernel[2, 0, 5, 7] == state_dict['features.5.weight'][7, 5, 2, 0]
    # Blue of the lower left pixel: PyTorch's channel 2 * 4 + 2, ours 2 * 3 + 2.
    stem = backbone['block0']['conv']['kernel']
    assert stem[1, 1, 8, 3] == state_dict['features.1.weight'][3, 10, 1, 1]
    # 128 local features, then maps of 4x4x96: row 1, column 3, channel 50.
    dense = backbone['fc']['kernel']
    assert dense[100, 9] == state_dict['fc1.0.weight'][9, 100]
    inputs = (128 + (1 * 4 + 3) * 96 + 50, 128 + 50 * 16 + 1 * 4 + 3)
    assert dense[inputs[0], 9] == state_dict['fc1.0.weight'][9, inputs[1]]
    assert stats['block1']['norm']['mean'][4] == state_dict['features.6.running_mean'][4] != 0
    assert backbone['norm']['scale'][4] == state_dict['fc1.1.weight'][4]
    assert (
        stats['top_right']['block0']['norm']['var'][2]
        == (state_dict['sp_unit3.localnet.1.running_var'][2])
    )


def test_back_to_pytorch(twin, state_dict):
    result = torch_weights.to_state_dict(NAME, torch_weights.load(NAME, state_dict))
    counters = [key for key in state_dict if key.endswith('num_batches_tracked')]
    assert set(result) == set(state_dict)
    for key in set(state_dict) - set(counters):
        np.testing.assert_array_equal(result[key], state_dict[key])
    other = torch_models.create(NAME, image_size=SIZE)
    other.load_state_dict({key: torch.from_numpy(value) for key, value in result.items()})
    images = torch.rand(2, 3, SIZE, SIZE)
    twin.eval()
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(images), twin(images))


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth', '.pt'])
def test_files(state_dict, suffix, tmp_path):
    variables = torch_weights.load(NAME, state_dict)
    path = tmp_path / f'weights{suffix}'
    torch_weights.save(path, NAME, variables)
    same(torch_weights.load(NAME, path), variables)
    same(torch_weights.load(NAME, str(path)), variables)


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
def test_a_place_that_cannot_be_written(state_dict, suffix, tmp_path):
    with pytest.raises(InputError, match=rf'cannot write .*nowhere/w\{suffix}.*No such file'):
        torch_files.write(tmp_path / f'nowhere/w{suffix}', state_dict)


def test_numbers_that_are_not_finite_are_not_handed_on(tmp_path):
    broken, values = tmp_path / 'w.safetensors', flags.FlagValues()
    torch_files.write(broken, {'a': np.ones(1, np.float32), 'b': np.full(2, np.nan, np.float32)})
    weights.define_flags(values)
    argv = ['weights.py', f'--input={broken}', f'--output={tmp_path}/out.safetensors']
    with pytest.raises(InputError, match=r'w\.safetensors: b not finite; take another'):
        weights.main(values(argv), values)
    assert list(tmp_path.iterdir()) == [broken]


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
def test_a_file_that_cannot_be_written_whole_leaves_the_one_before(tmp_path, monkeypatch, suffix):
    path = tmp_path / f'w{suffix}'
    torch_files.write(path, {'a': np.ones(3, np.float32)})

    def full(*_, **__):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch_files.pathlib.Path, 'replace', full)
    with pytest.raises(InputError, match='No space left on device'):
        torch_files.write(path, {'a': np.zeros(3, np.float32)})
    assert torch_files.read(path)['a'].tolist() == [1, 1, 1]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('length', range(1, 15))
def test_complete_weights_tell_a_size_at_which_they_fit(length):
    window = window_side(length)
    dense = {'sp_unit1.localnet.10.weight': np.zeros((512, 64 * window * window))}
    size = torch_keys.image_size('vgg16_multilevel', dense)
    assert size % 32 == 0
    assert size >= 32 * length
    assert window_side(size // 32) == window


def test_the_size_that_complete_weights_were_made_for():
    sizes = {2: 64, 5: 224}  # by the side of their windows
    for window, size in sizes.items():
        dense = {'sp_unit1.localnet.10.weight': np.zeros((512, 64 * window * window))}
        assert torch_keys.image_size('vgg16_multilevel', dense) == size


@pytest.mark.parametrize(
    'wrap',
    [
        lambda s: {'model': s, 'epoch': 3},
        lambda s: {'state_dict': {f'module.{k}': v for k, v in s.items()}, 'best': 0.5},
        lambda s: {'model': {'state_dict': s}},
        lambda s: {f'module.{k}': v for k, v in s.items()},
        lambda s: {f'_orig_mod.module.{k}': v for k, v in s.items()},
        lambda s: {k: v.astype(np.float64) for k, v in s.items()},
    ],
    ids=['model', 'state_dict', 'nested', 'module', 'compiled', 'double'],
)
def test_wrappers(state_dict, wrap, tmp_path):
    expected = torch_weights.load(NAME, state_dict)
    same(torch_weights.load(NAME, wrap(state_dict)), expected)
    tensors = jax.tree.map(
        lambda x: torch.from_numpy(x) if isinstance(x, np.ndarray) else x, wrap(state_dict)
    )
    torch.save(tensors, tmp_path / 'wrapped.pth')
    same(torch_weights.load(NAME, tmp_path / 'wrapped.pth'), expected)


def test_half_precision_is_read(twin, tmp_path):
    torch.save({k: v.bfloat16() for k, v in twin.state_dict().items()}, tmp_path / 'half.pth')
    kernel = torch_weights.load(NAME, tmp_path / 'half.pth')['params']['head']['kernel']
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, twin.fc2.weight.detach().bfloat16().float().numpy().T)


def test_bfloat16_safetensors(twin, tmp_path):
    from safetensors.torch import save_file

    save_file({k: v.bfloat16() for k, v in twin.state_dict().items()}, tmp_path / 'h.safetensors')
    kernel = torch_weights.load(NAME, tmp_path / 'h.safetensors')['params']['head']['kernel']
    np.testing.assert_array_equal(kernel, twin.fc2.weight.detach().bfloat16().float().numpy().T)


def test_a_trunk_comes_under_a_fresh_head(state_dict, fresh):
    trunk = {**without(state_dict, 'fc', 'sp_unit'), 'classifier.6.weight': np.zeros((1000, 9))}
    told = []
    variables = torch_weights.load(NAME, trunk, like=fresh, say=told.append)
    loaded = torch_weights.load(NAME, state_dict)
    for block in ('block0', 'block3'):
        same(variables['params']['backbone'][block], loaded['params']['backbone'][block])
    for part in ('fc', 'top_left', 'bottom_right'):
        same(variables['params']['backbone'][part], fresh['params']['backbone'][part])
    same(variables['params']['head'], fresh['params']['head'])
    (line,) = told
    assert line.startswith('weights of tiny_multilevel from the state dict: 20 tensors loaded; ')
    assert 'missing: sp_unit1.localnet.0.weight, ' in line
    assert line.endswith('1 unexpected: classifier.6.weight')
    with pytest.raises(InputError, match=r'lack sp_unit1\.localnet\.0\.weight, .*fc2\.bias; pass'):
        torch_weights.load(NAME, without(state_dict, 'fc', 'sp_unit1', 'sp_unit3') | {'x': trunk})


def test_a_network_without_branches(state_dict):
    twin = torch_models.create(NAME, image_size=SIZE, local=False)
    variables = torch_weights.load(NAME, twin.state_dict())
    assert 'top_left' not in variables['params']['backbone']
    outputs = models.create(NAME, local=False).apply(variables, jnp.zeros((1, SIZE, SIZE, 3)))
    assert outputs['logits'].shape == (1, 7)


def test_shared_statistics_become_those_of_both_domains(state_dict):
    model = models.create(NAME, statistics='per_domain')
    like = jax.jit(model.init)(jax.random.key(0), jnp.zeros((2, SIZE, SIZE, 3)))
    stats = torch_weights.load(NAME, state_dict, like=like)['batch_stats']['backbone']
    expected = np.stack([state_dict['features.6.running_mean']] * 2)
    np.testing.assert_array_equal(stats['block1']['norm']['mean'], expected)


def test_the_second_trunk_of_the_authors_resnet_is_ignored():
    entries = torch_keys.entries('resnet50_multilevel')
    names = {entry.key for entry in entries}
    copies = {'feature_layers.0.weight': np.zeros(1), 'feature_layers.4.0.bn1.bias': np.zeros(1)}
    head = {'fc1.bias': np.arange(7.0)}
    shapes = jax.eval_shape(
        models.create('resnet50_multilevel').init,
        jax.random.key(0),
        jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32),
    )
    variables, report = torch_weights.convert(
        'resnet50_multilevel', {**head, **copies}, like=shapes
    )
    assert report.unexpected == ()
    assert report.loaded == ('fc1.bias',)
    assert set(report.missing) == names - {'fc1.bias'}
    np.testing.assert_array_equal(variables['params']['head']['bias'], np.arange(7.0))


@pytest.mark.parametrize('given', [True, False])
def test_shapes_that_do_not_fit(state_dict, fresh, given):
    wrong = {**state_dict, 'features.8.weight': np.zeros((64, 31, 3, 3), np.float32)}
    message = r'features\.8\.weight has shape \[64, 31, 3, 3\] .* needs \[64, 32, 3, 3\]'
    with pytest.raises(InputError, match=message):
        torch_weights.load(NAME, wrong, like=fresh if given else None)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'fc1.0.weight': np.zeros((256, 1600))}, r'fc1\.0\.weight takes 1600 inputs'),
        ({'features.5.weight': np.zeros((32, 32))}, r'features\.5\.weight has shape \[32, 32\]'),
        ({'fc2.weight': np.zeros((9, 256))}, r'fc2\.weight has shape \[9, 256\].*\[7, 256\]'),
    ],
)
def test_other_layers_are_refused(state_dict, fresh, changes, message):
    with pytest.raises(InputError, match=message):
        torch_weights.load(NAME, {**state_dict, **changes}, like=fresh)


def test_weights_of_another_network(state_dict):
    with pytest.raises(InputError, match=r"no key fits model 'resnet50_multilevel'.*features\.1"):
        torch_weights.load('resnet50_multilevel', without(state_dict, 'fc1'))
    with pytest.raises(InputError, match="no PyTorch keys for model 'vgg19'"):
        torch_weights.load('vgg19', state_dict)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    path = tmp_path / 'evil.pth'
    torch.save({'weights': pathlib.PurePosixPath('x')}, path)
    with pytest.raises(InputError, match=r'more in it than tensors.*pathlib') as caught:
        torch_weights.load(NAME, path)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('file', 'content', 'message'),
    [
        ('none.pth', None, 'there is no file'),
        ('weights.npz', b'x', 'rename it'),
        ('cut.pth', b'PK\x03\x04', 'no readable PyTorch checkpoint'),
        ('text.pth', b'not a checkpoint at all', 'no readable PyTorch checkpoint'),
        ('cut.safetensors', b'\x08', 'no readable safetensors file'),
    ],
)
def test_files_that_cannot_be_read(file, content, message, tmp_path):
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        torch_weights.load(NAME, tmp_path / file)


def test_checkpoints_without_tensors(tmp_path):
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(InputError, match='holds a list'):
        torch_weights.load(NAME, tmp_path / 'list.pth')
    with pytest.raises(InputError, match='holds no tensors; its keys: epoch'):
        torch_weights.load(NAME, {'epoch': 3})


def test_no_pytorch_is_needed_for_safetensors(state_dict, tmp_path):
    torch_files.write(tmp_path / 'w.safetensors', state_dict)
    (tmp_path / 'w.pth').write_bytes(b'x')
    script = f"""
        import sys
        sys.modules['torch'] = None
        from dmsrl_jax.errors import InputError
        from dmsrl_jax.interop import torch_files
        print(len(torch_files.read(r'{tmp_path}/w.safetensors')))
        try:
            torch_files.read(r'{tmp_path}/w.pth')
        except InputError as error:
            print(error)
        sys.modules['safetensors.numpy'] = None
        try:
            torch_files.read(r'{tmp_path}/w.safetensors')
        except InputError as error:
            print(error)
    """
    command = [sys.executable, '-c', textwrap.dedent(script)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert lines[0] == str(len(state_dict))
    assert 'need PyTorch' in lines[1]
    assert 'pip install safetensors' in lines[2]


@pytest.fixture
def in_process(monkeypatch):
    def call(*arguments):
        values, argv = flags.FlagValues(), ['weights.py', *map(str, arguments)]
        weights.define_flags(values)
        return weights.main(values(argv), values)

    return call


def test_the_command_converts(twin, state_dict, in_process, tmp_path, capsys):
    torch.save({'state_dict': twin.state_dict()}, tmp_path / 'in.pth')
    in_process('--input', tmp_path / 'in.pth', '--output', tmp_path / 'out.safetensors')
    assert capsys.readouterr().out == f'{tmp_path}/out.safetensors: {len(state_dict)} tensors\n'
    same(
        torch_weights.load(NAME, tmp_path / 'out.safetensors'), torch_weights.load(NAME, state_dict)
    )
    with pytest.raises(InputError, match='either --input FILE or --workdir'):
        in_process('--output', tmp_path / 'x.pth')


def test_a_run_goes_to_pytorch_and_starts_another(
    tiny_run, tiny_config, in_process, tmp_path, capsys
):
    path = tmp_path / 'run.pth'
    in_process('--workdir', tiny_run, '--output', path)
    network = torch_models.create(NAME, statistics='per_domain')
    network.load_state_dict(torch.load(path, weights_only=True))

    from dmsrl_jax.training import restore, run

    restored = restore.restore_model(tiny_run)
    said = []
    parts = run.prepare(tiny_config(**{'model.pretrained': str(path)}), said.append)
    parts.batches.close()
    assert any(line.startswith(f'weights of {NAME} from {path}: ') for line in said)
    found = {group: parts.initial.params[group] for group in ('backbone', 'head')}
    same(jax.device_get(found), jax.device_get(restored.variables['params']))
    same(
        jax.device_get(parts.initial.batch_stats),
        jax.device_get(restored.variables['batch_stats']),
    )
