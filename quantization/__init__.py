"""Post-training quantization: float graph in, quantized graph and report out."""
