"""From a quantized graph to the bytes of a file: one emitter a format."""
