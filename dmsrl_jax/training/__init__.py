"""State, step, mapping over devices, optimisers, schedules, checkpoints and the one loop."""
