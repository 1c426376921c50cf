"""A folder that outgrows one machine: Ray Data gives each actor a Classifier of its own and spreads the photos over
them.

In a clone: pip install . 'ray[data]'; python examples/ray_batch.py photos/ results/ --actors 4     (results/*.json, a
line a photo)
"""

import argparse
from typing import Any

import numpy as np
import ray

from edge_effnet import Classifier, EdgeEffnetError


class Predictor:
    """Lives in one actor: the model is opened once, then takes batch after batch."""

    def __init__(self, model: str | None) -> None:
        self.classifier = Classifier(model, threads=1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """batch: `bytes` and `path` of some photos. Returns path, index, label, score and error, one each."""
        rows = [self.best(data) for data in batch["bytes"]]
        columns = {name: np.array([row[name] for row in rows]) for name in ("index", "label", "score", "error")}
        return {"path": batch["path"], **columns}

    def best(self, data: bytes) -> dict[str, Any]:
        """The best class; a broken photo doesn't end the job."""
        try:
            found = self.classifier.predict(data, top_k=1)[0]
        except EdgeEffnetError as error:
            return {"index": -1, "label": "", "score": 0.0, "error": str(error)}
        return {"index": found.index, "label": found.label, "score": found.score, "error": ""}


def main() -> None:
    """Reads, classifies, writes; Ray restarts what fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="local for all machines, or s3://…, gs://…")
    parser.add_argument("results")
    parser.add_argument("--model", help="a path that every machine has")
    parser.add_argument("--actors", type=int, default=2)
    arguments = parser.parse_args()
    photos = ray.data.read_binary_files(
        arguments.folder, include_paths=True, file_extensions=["jpg", "jpeg", "png", "webp"]
    )
    actors = ray.data.ActorPoolStrategy(
        min_size=1, max_size=arguments.actors
    )  # not all at once: reading needs a core, too
    found = photos.map_batches(
        Predictor, fn_constructor_args=[arguments.model], batch_size=16, compute=actors, num_cpus=1
    )
    found.write_json(arguments.results)


if __name__ == "__main__":
    main()
