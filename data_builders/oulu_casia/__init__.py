"""Oulu-CASIA NIR&VIS: expressions filmed in visible light and near infrared."""
