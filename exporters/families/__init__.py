"""One file a family of architectures: its table, and what its published checkpoints' photos look like."""
