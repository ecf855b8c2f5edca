"""Settings for all tests: four virtual CPU devices, strict rank promotion, a lasting compile cache off."""

import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_rank_promotion', 'raise')
