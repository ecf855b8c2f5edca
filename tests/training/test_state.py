"""What the state holds before the first step."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

from dmsrl_jax import methods, models
from dmsrl_jax.errors import InputError
from dmsrl_jax.methods.base import Method, Phase
from dmsrl_jax.training import state


def create(small, seed=0, averaged=False, **options):
    return state.create(
        jax.random.key(seed),
        models.create(small),
        methods.create('dmsrl', hidden=4, **options),
        image_size=8,
        num_classes=7,
        averaged=averaged,
    )


def test_the_groups_of_model_and_method(small):
    made = create(small)
    assert set(made.params) == {'backbone', 'head', 'centers', 'critic'}
    assert made.params['centers'].target.shape == (7, 6)
    assert set(state.model_params(made.params)) == {'backbone', 'head'}
    assert int(made.step) == 0
    assert made.average is None
    assert jnp.issubdtype(made.key.dtype, jax.dtypes.prng_key)


def test_the_seed_decides_everything(small):
    one, same, other = create(small), create(small), create(small, seed=1)
    chex.assert_trees_all_equal(one.params, same.params)
    for group in one.params:
        pairs = zip(*(jax.tree.leaves(s.params[group]) for s in (one, other)), strict=True)
        assert any((a != b).any() for a, b in pairs), group
    assert (jax.random.key_data(one.key) != jax.random.key_data(other.key)).any()


def test_network_method_and_run_draw_from_keys_of_their_own():
    class Network:
        feature_dim = 6

        def init(self, key, images):
            return {'params': {'backbone': jax.random.uniform(key), 'head': {}}}

    method = Method(init=lambda key, dim, classes: {'extra': jax.random.uniform(key)}, phases=())
    made = state.create(
        jax.random.key(0), Network(), method, image_size=8, num_classes=7, averaged=False
    )
    drawn = [made.params['backbone'], made.params['extra'], jax.random.uniform(made.key)]
    assert len(set(map(float, drawn))) == 3


@pytest.mark.parametrize(
    ('extra', 'groups', 'message'),
    [
        ({}, ('backbone', 'heads'), 'a phase trains heads; there are backbone, head'),
        ({}, 'head', "Phase.groups must be a tuple of names, got 'head'"),
        ({'head': {}}, ('backbone', 'head'), 'Method.init gives head, which the model has already'),
    ],
)
def test_a_method_whose_parts_do_not_fit_is_refused(small, extra, groups, message):
    method = Method(init=lambda *_: extra, phases=(Phase(lambda *_: None, groups),))
    with pytest.raises(InputError, match=message):
        state.create(
            jax.random.key(0), models.create(small), method,
            image_size=8, num_classes=7, averaged=False,
        )  # fmt: skip


def test_the_average_is_a_copy(small):
    made = create(small, averaged=True)
    chex.assert_trees_all_equal(made.average, state.model_params(made.params))
    pointers = [
        {x.unsafe_buffer_pointer() for x in jax.tree.leaves(tree)}
        for tree in (made.average, made.params)
    ]
    assert not pointers[0] & pointers[1]  # or donating the state would give a buffer twice


def test_weights_from_elsewhere(small):
    model = models.create(small)
    variables = jax.jit(model.init)(jax.random.key(9), jnp.zeros((2, 8, 8, 3)))
    made = state.create(
        jax.random.key(0),
        model,
        methods.create('source_only'),
        image_size=8,
        num_classes=7,
        averaged=False,
        variables=variables,
    )
    chex.assert_trees_all_equal(made.params, variables['params'])
    chex.assert_trees_all_equal(made.batch_stats, variables['batch_stats'])


def test_optimisers_start_afresh_for_each_group(small):
    made = create(small)
    tx = {group: optax.sgd(0.1, momentum=0.9) for group in made.params}
    ready = state.with_optimizers(made, tx)
    assert set(ready.opt_state) == set(made.params)
    traces = ready.opt_state['centers'][0].trace
    assert traces.source.shape == (7, 6)
    assert not any(x.any() for x in jax.tree.leaves(traces))
