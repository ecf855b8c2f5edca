"""The public face of the library: documented, annotated, light to import."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys

PACKAGES = ('losses', 'models', 'methods', 'training', 'data', 'evaluation')
CORE_OF_TRAINING = ('schedules', 'state', 'step')


def modules():
    for package in PACKAGES:
        top = importlib.import_module(f'dmsrl_jax.{package}')
        yield top
        for found in pkgutil.iter_modules(top.__path__):
            yield importlib.import_module(f'{top.__name__}.{found.name}')


def public():
    """Public functions, classes and methods with the place where they are defined."""
    for module in modules():
        for name, item in vars(module).items():
            if name.startswith('_') or getattr(item, '__module__', '') != module.__name__:
                continue
            if inspect.isclass(item):
                yield f'{module.__name__}.{name}', item
                for inner, method in vars(item).items():
                    own = getattr(method, '__qualname__', '') == f'{item.__qualname__}.{inner}'
                    if inspect.isfunction(method) and own and not inner.startswith('_'):
                        yield f'{module.__name__}.{name}.{inner}', method
            elif inspect.isfunction(item) and item.__name__ != '<lambda>':
                yield f'{module.__name__}.{name}', item


ITEMS = dict(public())
FUNCTIONS = {name: item for name, item in ITEMS.items() if inspect.isfunction(item)}


def test_there_is_something_to_look_at():
    assert len(FUNCTIONS) > 60
    assert 'dmsrl_jax.losses.margin.margin_metric_loss' in FUNCTIONS
    assert 'dmsrl_jax.training.checkpoints.Checkpoints.save' in FUNCTIONS


def test_everything_public_is_documented():
    assert [name for name, item in ITEMS.items() if not (item.__doc__ or '').strip()] == []


def test_every_public_function_is_annotated():
    missing = []
    for name, function in FUNCTIONS.items():
        signature = inspect.signature(function)
        unmarked = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.annotation is inspect.Parameter.empty and parameter.name != 'self'
        ]
        if unmarked or signature.return_annotation is inspect.Signature.empty:
            missing.append((name, unmarked))
    assert missing == []


def test_a_random_key_is_called_key_and_comes_first():
    late, odd = [], []
    for name, function in FUNCTIONS.items():
        names = [p for p in inspect.signature(function).parameters if p != 'self']
        late += [name] * ('key' in names and names[0] != 'key')
        odd += [name for parameter in names if parameter in ('rng', 'rngs', 'prng', 'random_key')]
    assert late == []
    assert odd == []


def test_many_arguments_are_told_one_by_one():
    untold = []
    for name, function in FUNCTIONS.items():
        names = [p for p in inspect.signature(function).parameters if p not in ('self', 'key')]
        doc = function.__doc__ or ''
        if len(names) > 3 and 'Args:' in doc:
            untold += [f'{name}: {p}' for p in names if f'{p.lstrip("_").rstrip("_")}' not in doc]
    assert untold == []


LIGHT = """
import sys
# absl is not among them: flax, optax and chex need it.
for name in ('grain', 'tensorflow_datasets', 'orbax', 'matplotlib', 'torch', 'PIL', 'dm_pix',
             'ml_collections', 'tensorboardX', 'tqdm', 'tensorflow', 'array_record'):
    sys.modules[name] = None
import dmsrl_jax
from dmsrl_jax import losses, methods, models
from dmsrl_jax.training import schedules, state, step
assert methods.create('dmsrl').uses_target
assert models.create('tiny_multilevel').feature_dim
assert losses.margin_metric_loss and step.train_step and state.create and schedules.ramp
from jax._src import xla_bridge
assert not xla_bridge._backends, 'importing touched a device'
print('light')
"""


def test_the_core_needs_only_jax_flax_optax_and_chex():
    command = [sys.executable, '-W', 'error', '-c', LIGHT]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout == 'light\n'


def test_the_core_names_nothing_else():
    allowed = {'jax', 'flax', 'optax', 'chex', 'dmsrl_jax', *sys.stdlib_module_names}
    used = set()
    for module in modules():
        package, name = module.__name__.split('.')[1], module.__name__.split('.')[-1]
        if package not in ('losses', 'models', 'methods') and name not in CORE_OF_TRAINING:
            continue
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Import):
                used |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used.add((node.module or '').split('.')[0])
    # NumPy comes with jax.
    assert used - allowed <= {'numpy'}
