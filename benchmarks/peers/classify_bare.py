"""Names a photo's class with numpy, Pillow and LiteRT and nothing else: `classify_bare.py MODEL PHOTO RESIZE CROP
THREADS`.

What a script would do that knows its model: an int8 file that takes pixels. Prints the class index.
"""

from __future__ import annotations

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

model, photo = sys.argv[1:3]
resize, crop, threads = (int(word) for word in sys.argv[3:6])
interpreter = Interpreter(model_path=model, num_threads=threads)
interpreter.allocate_tensors()
image = Image.open(photo).convert("RGB")
scale = resize / min(image.size)
image = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.BICUBIC)
left, top = (image.width - crop) // 2, (image.height - crop) // 2
pixels = np.asarray(image.crop((left, top, left + crop, top + crop)))
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
interpreter.invoke()
print(int(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).argmax()))
