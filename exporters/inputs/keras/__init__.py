"""Keras files, read without TensorFlow and without running anything."""
