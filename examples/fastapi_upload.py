"""A web service that classifies uploaded photos.

In a clone: pip install . fastapi python-multipart uvicorn; uvicorn --app-dir examples fastapi_upload:app
curl -F photo=@cat.jpg http://127.0.0.1:8000/predict
"""

import queue
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from fastapi import FastAPI, HTTPException, UploadFile

from edge_effnet import Classifier, EdgeEffnetError

CLASSIFIERS = 2  # requests answered at once; a Classifier is for one thread at a time, so each request borrows one
LARGEST_BYTES = 20_000_000
idle: queue.Queue[Classifier] = queue.Queue()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Opens the classifiers once, closes them at the end."""
    for _ in range(CLASSIFIERS):
        idle.put(Classifier(threads=1))
    yield
    while not idle.empty():
        idle.get().close()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
def predict(photo: UploadFile, top_k: int = 5) -> dict[str, object]:
    """The best classes. Not `async`: FastAPI runs it in a thread of its pool, and the event loop goes on."""
    data = photo.file.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise HTTPException(413, f"the photo has more than {LARGEST_BYTES:,} bytes")
    classifier = idle.get()
    try:
        found = classifier.predict(data, top_k=top_k)
        return {"predictions": [asdict(prediction) for prediction in found], "timing_ms": dict(classifier.timing_ms)}
    except EdgeEffnetError as error:  # a broken photo, a top_k of 0: the client's to mend
        raise HTTPException(422, str(error)) from error
    finally:
        idle.put(classifier)
