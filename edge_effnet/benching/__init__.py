"""What `edge-effnet bench` does: each subject in a process of its own, all of them by turns."""
