"""Known answers of the mutual-information bounds, as a table in docs/mutual_information.md.

    python experiments/mutual_information.py [--seeds 3] [--steps 1000] [--samples 100000]

Every bound is trained with the defaults of `estimate_mutual_information` on correlated Gaussians
(d = 20; 2, 4, 6, 8 nats; d = 1; 0.5, 2 nats), on independent ones, and on two domains that a plane
separates (ln 2). About ten minutes of one core.
"""

import datetime
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from absl import flags

from dmsrl_jax import losses
from dmsrl_jax.errors import InputError
from experiments import cli

PAGE = pathlib.Path(__file__).parent.parent / 'docs' / 'mutual_information.md'
BEGIN, END = '<!-- table: begin -->', '<!-- table: end -->'
DIM = 20
LN2 = math.log(2)


class Case(NamedTuple):
    """One problem with its answer.

    Attributes:
        name: what the table calls it.
        answer: true mutual information in nats.
        steps: share of the steps that it takes.
        draw: `(key, n) -> (x, y)`.
    """

    name: str
    answer: float
    steps: float
    draw: Callable[[jax.Array, int], tuple[jax.Array, jax.Array]]


class Row(NamedTuple):
    """One bound on one problem: mean, bias and deviation over seeds, deviation over batches."""

    case: str
    answer: float
    bound: str
    mean: float
    bias: float
    deviation: float
    batches: float


def correlated_gaussians(
    key: jax.Array, n: int, information: float, dim: int = DIM
) -> tuple[jax.Array, jax.Array]:
    """Draws x, y [n, d] standard normal, each pair of columns with the same correlation.

        I = -(d/2) ln(1 - rho^2)

    Args:
        key: random key.
        n: number of samples.
        information: I(x; y) in nats.
        dim: d.

    Returns:
        x and y.
    """
    rho = math.sqrt(1 - math.exp(-2 * information / dim))
    x, noise = jax.random.normal(key, (2, n, dim))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def separable_domains(key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
    """Draws features [n, 20] of two equally likely domains, 8 deviations apart, and the domain [n].

    Args:
        key: random key.
        n: number of samples.

    Returns:
        features and domain (0 or 1).
    """
    key_d, key_f = jax.random.split(key)
    domain = jax.random.bernoulli(key_d, 0.5, (n,)).astype(jnp.int32)
    shift = jnp.zeros((1, DIM)).at[0, 0].set(8.0)
    return jax.random.normal(key_f, (n, DIM)) + shift * domain[:, None], domain


def cases() -> tuple[Case, ...]:
    """Returns the problems of the table."""
    gaussians = lambda mi, dim=DIM: lambda key, n: correlated_gaussians(key, n, mi, dim)
    return (
        Case('independent', 0.0, 0.5, gaussians(0.0)),
        *(Case(f'Gaussians {mi}', mi, 1.0, gaussians(mi)) for mi in (2, 4, 6, 8)),
        *(Case(f'Gaussians {mi}, one column', mi, 1.0, gaussians(mi, 1)) for mi in (0.5, 2)),
        Case('separable domains', LN2, 0.5, separable_domains),
    )


def measure(seeds: int, steps: int, samples: int) -> Iterator[Row]:
    """Trains every bound on every problem.

    Args:
        seeds: repetitions, each with its own samples and its own critic.
        steps: number of updates.
        samples: number of samples, a quarter of them held out.

    Yields:
        One row for each problem and bound.
    """
    for case in cases():
        for bound in losses.BOUNDS:
            results = []
            for seed in range(seeds):
                key_data, key = jax.random.split(jax.random.key(seed))
                x, y = case.draw(key_data, samples)
                results.append(
                    losses.estimate_mutual_information(
                        key, x, y, bound=bound, steps=max(1, round(case.steps * steps))
                    )
                )
            values = jnp.stack([r.estimate for r in results])
            mean = float(values.mean())
            yield Row(
                case.name,
                case.answer,
                bound,
                mean,
                mean - case.answer,
                float(values.std(ddof=1)) if seeds > 1 else math.nan,
                float(jnp.stack([r.batches.std() for r in results]).mean()),
            )


def render(rows: list[Row], heading: str) -> str:
    """Turns rows into a Markdown table below a line that says how they were made.

    Args:
        rows: from `measure`.
        heading: how and when.

    Returns:
        Markdown text.
    """
    lines = [
        heading,
        '',
        '| problem | true I | bound | estimate | bias | sd over seeds | sd of one batch |',
        '| --- | ---: | --- | ---: | ---: | ---: | ---: |',
    ]
    for row in rows:
        lines.append(
            f'| {row.case} | {row.answer:.3f} | {row.bound} | {row.mean:.3f} | {row.bias:+.3f} '
            f'| {row.deviation:.3f} | {row.batches:.3f} |'
        )
    return '\n'.join(lines)


def insert(page: str, table: str) -> str:
    """Puts the table between the page's markers.

    Args:
        page: text with both markers, in order.
        table: what goes between them.

    Returns:
        The new text.

    Raises:
        InputError: a marker is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f'the page needs the lines {BEGIN!r} and {END!r}, in this order')
    return f'{before}{begin}\n{table}\n{end}{after}'


def main(seeds: int, steps: int, samples: int) -> None:
    """Measures, prints, and writes the table into the page.

    Args:
        seeds: see `measure`.
        steps: see `measure`.
        samples: see `measure`.
    """
    insert(PAGE.read_text(), '')
    cli.cache_compilations()
    rows = []
    for row in measure(seeds, steps, samples):
        print(f'{row.case:18s} {row.bound:14s} {row.mean:9.3f}  true {row.answer:.3f}', flush=True)
        rows.append(row)
    heading = (
        f'{datetime.date.today()}, {jax.device_count()} x {jax.devices()[0].platform} '
        f'({cli.processor()}), jax {jax.__version__}, seeds {seeds}, steps {steps} (half of them '
        f'for independent variables and domains), samples {samples}:\n'
        f'`python experiments/mutual_information.py --seeds {seeds} --steps {steps} '
        f'--samples {samples}`. All values in nats.'
    )
    table = render(rows, heading)
    print(table)
    PAGE.write_text(insert(PAGE.read_text(), table))


if __name__ == '__main__':
    flags.DEFINE_integer('seeds', 3, 'Repetitions.', lower_bound=1)
    flags.DEFINE_integer('steps', 1000, 'Updates of each critic.', lower_bound=1)
    flags.DEFINE_integer('samples', 100000, 'Samples of each problem.', lower_bound=1024)
    cli.run(lambda argv: main(flags.FLAGS.seeds, flags.FLAGS.steps, flags.FLAGS.samples))
