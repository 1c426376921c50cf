"""A large folder over several processes, as JSON Lines; run again, it goes on where it was stopped.

python batch_folder.py photos/ results.jsonl --processes 4
"""

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from edge_effnet import Classifier, EdgeEffnetError
from edge_effnet.images import find_images

classifier: Classifier | None = None  # one a process


def open_classifier(model: str | None) -> None:
    """Runs once in each process."""
    global classifier
    classifier = Classifier(model, threads=1)


def classify(path: str) -> dict[str, object]:
    """One line of the results; a photo that can't be read has its error in it."""
    assert classifier is not None
    try:
        return {"source": path, "predictions": [asdict(found) for found in classifier.predict(path, top_k=5)]}
    except EdgeEffnetError as error:
        return {"source": path, "error": str(error)}


def done_before(results: Path) -> set[str]:
    """Sources in the results so far; a last line that was cut off in the middle is taken back."""
    if not results.exists():
        return set()
    with open(results, "rb+") as file:
        whole = file.read()
        kept = whole[: whole.rfind(b"\n") + 1]
        file.truncate(len(kept))
    return {json.loads(line)["source"] for line in kept.splitlines()}


def classified(paths: list[str], *, processes: int, model: str | None) -> Iterator[dict[str, object]]:
    """Results as they come. spawn: engines keep threads, which don't survive a fork."""
    with multiprocessing.get_context("spawn").Pool(processes, open_classifier, (model,)) as pool:
        yield from pool.imap_unordered(classify, paths, chunksize=8)


def main() -> None:
    """Classifies what the results don't have yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    done = done_before(arguments.results)
    paths = [str(path) for path in find_images(arguments.folder) if str(path) not in done]
    print(f"{len(done)} done before, {len(paths)} to do")
    with open(arguments.results, "a", encoding="utf-8") as file:
        for result in classified(paths, processes=arguments.processes, model=arguments.model):
            file.write(json.dumps(result, ensure_ascii=False) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
