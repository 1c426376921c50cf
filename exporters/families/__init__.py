"""One file a family of architectures: its table, its names in each dialect, its published preprocessing."""
