"""CK+: posed expressions filmed in the laboratory, from neutral to peak."""
