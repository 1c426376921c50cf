"""The peers' quantizers, each a script for an environment of its own: `SCRIPT FLOAT.onnx ARRAYS.npz RESULT.npz`.

ARRAYS holds `calibration` and `evaluation`, float32[N, 3, H, W], prepared as the network takes them; RESULT gets
`logits` float32[N, C]. The scripts import nothing of edge-effnet, and edge-effnet imports none of them.
"""
