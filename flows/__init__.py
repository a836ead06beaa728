"""Flows, recipes and the command line."""

import tasks as tasks  # first, before anything imports pyarrow: it chooses Arrow's allocator
