"""One file a stage; the contract is in quantization/state.py, the order in pipeline.py."""
