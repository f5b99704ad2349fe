"""Environments and rollouts, which know a problem through one small protocol alone."""
