"""Weights between PyTorch and this library.

Turn a PyTorch checkpoint into a file that needs no PyTorch to be read:
    python experiments/weights.py --input vgg16_bn.pth --output vgg16_bn.safetensors
Write the model of a run as a PyTorch state dict (.safetensors, .pth):
    python experiments/weights.py --workdir runs/mine --output mine.pth
"""

from collections.abc import Sequence

import numpy as np
from absl import flags

from dmsrl_jax.errors import InputError
from experiments import cli


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string('input', None, 'Checkpoint to read: .pth, .pt.', flag_values=values)
    flags.DEFINE_string('workdir', None, 'Folder of a training run.', flag_values=values)
    flags.DEFINE_string('output', None, 'File to write.', flag_values=values)


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Writes the file and says what is in it."""
    if len(argv) > 1:
        raise InputError(f'unexpected arguments: {" ".join(argv[1:])}; see --help')
    source, workdir, output = (values[name].value for name in ('input', 'workdir', 'output'))
    if not output or bool(source) == bool(workdir):
        raise InputError('pass --output FILE, and either --input FILE or --workdir DIR; see --help')
    from dmsrl_jax.interop import torch_files, torch_weights

    if source:
        state_dict = torch_files.read(source)
    else:
        from dmsrl_jax.training import restore

        run = restore.restore_model(str(workdir))
        state_dict = torch_weights.to_state_dict(run.config.model.name, run.variables)
    if bad := [key for key, value in state_dict.items() if not np.isfinite(value).all()]:
        raise InputError(f'{source or workdir}: {", ".join(bad[:5])} not finite; take another run')
    torch_files.write(output, state_dict)
    print(f'{output}: {len(state_dict)} tensors')


if __name__ == '__main__':
    define_flags()
    cli.run(main)
