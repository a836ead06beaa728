"""What `MethodConfig` says, done: what of a model learns, and what its loss asks besides the task."""
