"""Other makers' programs, each a script for an environment of its own. They import nothing of edge-effnet, and
edge-effnet imports none of them.

Quantizers, as `SCRIPT FLOAT.onnx ARRAYS.npz RESULT.npz`: ARRAYS holds `calibration` and `evaluation`, float32[N, 3, H,
W], prepared as the network takes them; RESULT gets `logits` float32[N, C].

Engines, to be timed: `SCRIPT make FOLDER` makes the peer's files in a folder with `float.onnx` and `arrays.npz`
(`calibration`, and `image` float32[1, 3, H, W]); `open_subject(settings)`, for edge_effnet/benching/serving.py, opens
one of them (settings: `folder`, `precision`) and gives a function that runs it once on `image`.
"""
