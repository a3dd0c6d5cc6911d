"""The composition roots: one module a process, and the supervisor of them all."""
