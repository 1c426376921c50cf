"""A slice of the fuzz campaign and of the kills, the same each time; the whole is `python -m
edge_effnet.benchmarks.fuzz`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_effnet.benchmarks.fuzz import __main__ as campaign
from edge_effnet.benchmarks.fuzz import campaigns, kills, worker
from edge_effnet.benchmarks.fuzz.mutants import KINDS, Seed, mutant
from edge_effnet.benchmarks.fuzz.seeds import FORMATS, seed_files, unsealed
from edge_effnet.benchmarks.fuzz.worker import Outcome, Task, judge, run_task
from edge_effnet.errors import ModelFileError
from edge_effnet.formats import read_model_file

pytestmark = [
    pytest.mark.litert,
    pytest.mark.onnx,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, and limits memory"),
]
MUTANTS = 120
ENGINES = {"tflite": "litert", "onnx": "onnxruntime"}
SMALL = {"tflite": ("b0-int8", "lite0-fp32"), "onnx": ("b0-int8", "lite0-fp32")}


@pytest.fixture(scope="module")
def files() -> dict[str, dict[str, bytes]]:
    return {file_format: seed_files(file_format) for file_format in FORMATS}


def seeds(files: dict[str, dict[str, bytes]], file_format: str, sealing: str) -> list[Seed]:
    chosen = {name: files[file_format][name] for name in SMALL[file_format]}
    return [Seed.from_file(name, data if sealing == "sealed" else unsealed(data)) for name, data in chosen.items()]


_SLICE = """
import json, sys, tempfile
from pathlib import Path
from edge_effnet.benchmarks.fuzz.__main__ import _import, picture
from edge_effnet.benchmarks.fuzz.mutants import Seed
from edge_effnet.benchmarks.fuzz.worker import Task, run_task
engine, folder, count, names = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
_import(engine)
task = Task([Seed.from_file(name, (folder / name).read_bytes()) for name in names], engine, picture(), folder)
print(json.dumps([outcome.__dict__ for outcome in run_task(task, range(count))]))
"""


@pytest.mark.parametrize("sealing", ["sealed", "unsealed"])
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_slice_of_the_campaign(
    tmp_path: Path, files: dict[str, dict[str, bytes]], file_format: str, sealing: str
) -> None:
    """In a process of its own, since the campaign forks: no crash, no hang, no error but ours, nothing wrong in
    silence.
    """
    made = seeds(files, file_format, sealing)
    for seed in made:
        (tmp_path / seed.name).write_bytes(seed.data)
    command = [
        sys.executable,
        "-c",
        _SLICE,
        ENGINES[file_format],
        str(tmp_path),
        str(MUTANTS),
        *(seed.name for seed in made),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    outcomes = [Outcome(**fields) for fields in json.loads(done.stdout)]
    assert [outcome.number for outcome in outcomes] == list(range(MUTANTS))
    assert {outcome.kind for outcome in outcomes} == set(KINDS)
    assert [outcome for outcome in outcomes if outcome.result in campaign.FINDINGS] == []
    counts = Counter(outcome.result for outcome in outcomes)
    assert counts["refused"] > MUTANTS / 2
    assert sealing == "unsealed" or not counts["warned"]
    assert max(outcome.rss_mb for outcome in outcomes) < 1024


def test_mutants_are_made_again_from_their_numbers(files: dict[str, dict[str, bytes]]) -> None:
    made = seeds(files, "tflite", "sealed")
    for number in range(30):
        seed, kind, data = mutant(made, number)
        assert (seed.name, kind, data) == (
            mutant(made, number)[0].name,
            mutant(made, number)[1],
            mutant(made, number)[2],
        )
        assert mutant(made, number, campaign=1)[2] != data or kind == "truncate"


def test_structure_is_what_is_no_large_weight(files: dict[str, dict[str, bytes]]) -> None:
    for file_format in FORMATS:
        seed = seeds(files, file_format, "sealed")[1]
        assert 0 < len(seed.structure) < 0.1 * len(seed.data), "float weights make nearly all of the file"
        assert (len(seed.lengths) > 0) == (file_format == "onnx")


def task(tmp_path: Path, files: dict[str, dict[str, bytes]]) -> Task:
    return Task(seeds(files, "tflite", "unsealed"), "litert", campaign.picture(), tmp_path)


def test_judging(tmp_path: Path, files: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    sealed, bare = files["tflite"]["lite0-fp32"], unsealed(files["tflite"]["lite0-fp32"])
    image, path = campaign.picture(), tmp_path / "m"
    path.write_bytes(sealed)
    right, remarks = worker.answer(path, image, "litert")
    assert remarks == []
    wrong = (right[0] + 1, right[1], right[2])
    assert judge(sealed, path, image, "litert", right) == ("same", "")
    assert judge(sealed, path, image, "litert", wrong)[0] == "silent"
    assert judge(bare, path, image, "litert", wrong)[0] == "warned"
    assert judge(sealed[:5000], path, image, "litert", right) == ("refused", "ModelFileError")
    for error, result in ((MemoryError("x"), "refused"), (KeyError("x"), "unexpected")):

        def fail(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        monkeypatch.setattr(worker, "Classifier", fail)
        assert judge(sealed, path, image, "litert", right)[0] == result


@pytest.mark.parametrize(
    ("end", "result", "detail"),
    [
        ("signal", "crash", "SIGUSR1"),
        ("kill", "crash", "SIGKILL"),
        ("leave", "crash", "exit 5"),
        ("hang", "hang", "SIGKILL"),
    ],
)
def test_what_ends_a_worker_is_counted_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, result: str, detail: str
) -> None:
    """The watched process, with a judge that crashes or hangs on mutant 3. No clock: time is up when the child says
    that it hangs.
    """
    made = Seed("s", bytes(100), np.arange(100), np.empty(0, np.int64))
    hung, say_hung = os.pipe()

    def hang() -> None:
        os.write(say_hung, b"x")
        signal.pause()

    def judged(*_: Any) -> tuple[str, str]:
        if next(numbers) == 3:
            send = {"signal": signal.SIGUSR1, "kill": signal.SIGKILL}
            {"leave": lambda: os._exit(5), "hang": hang}.get(end, lambda: os.kill(os.getpid(), send[end]))()
        return "same", ""

    def waited(pipes: list[Any], *_: Any) -> tuple[list[Any], list[Any], list[Any]]:
        ready = select([*pipes, hung], [], [])[0]
        return [pipe for pipe in ready if pipe != hung], [], []

    numbers, select = iter(range(4)), campaigns.select.select
    monkeypatch.setattr(worker, "judge", judged)
    monkeypatch.setattr(campaigns.select, "select", waited)
    monkeypatch.setattr(Task, "expected", lambda _self: {"s": (0, "a", 1.0)})
    found = list(run_task(Task([made], "litert", campaign.picture(), tmp_path), range(4)))
    assert [(outcome.number, outcome.result) for outcome in found] == [
        (0, "same"),
        (1, "same"),
        (2, "same"),
        (3, result),
    ]
    assert found[-1].detail == detail
    os.close(hung)
    os.close(say_hung)


def test_remaking_a_mutant(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(campaign, "seed_files", files.__getitem__)
    target = tmp_path / "mutant"
    assert campaign.main(["--remake", "tflite/unsealed/5", "-o", str(target)]) == 0
    assert target.read_bytes() == mutant(campaign.seeds_of("tflite", "unsealed"), 5)[2]
    assert campaign.main(["--remake", "tflite/5", "-o", str(target)]) == 2
    assert "mutant 'tflite/5'; expected tflite or onnx, sealed or unsealed and a number" in capsys.readouterr().err


def test_the_commands_write_their_results(tmp_path: Path) -> None:
    """Both as they are run by hand, for a few mutants and kills."""
    for module, words in (
        ("fuzz", ["--mutants", "30", "--only", "numpy"]),
        ("fuzz.kills", ["--kills", "3", "--only", "write"]),
    ):
        command = [
            sys.executable,
            "-m",
            f"edge_effnet.benchmarks.{module}",
            *words,
            "--results",
            str(tmp_path / f"{module}.json"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    part = json.loads((tmp_path / "fuzz.json").read_text())["parts"][0]
    assert (part["format"], part["weights"], part["engine"], part["mutants"], part["findings"]) == (
        "tflite",
        "unsealed",
        "numpy",
        3,
        [],
    )
    assert json.loads((tmp_path / "fuzz.kills.json").read_text())["write"]["kills"] == 3


def test_a_finding_is_tried_as_a_user_would_and_named(
    tmp_path: Path, files: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = task(tmp_path, files)
    outcomes = iter([Outcome(0, "b0-int8", "flip", "crash", "SIGSEGV"), Outcome(1, "b0-int8", "flip", "same")])
    monkeypatch.setattr(campaign, "seeds_of", lambda *_: found.seeds)
    monkeypatch.setattr(campaign, "run_task", lambda *_: outcomes)
    row = campaign.run_part("tflite", "unsealed", "litert", numbers=range(2), campaign=0)
    assert row["outcomes"] == {"crash": 1, "same": 1}
    assert row["findings"][0] == {
        "number": 0,
        "seed": "b0-int8",
        "damage": "flip",
        "result": "crash",
        "detail": "SIGSEGV",
        "fenced": row["findings"][0]["fenced"],
    }
    assert row["findings"][0]["fenced"] in ("exit status 0", "exit status 2")


@pytest.mark.parametrize("name", ["write", "record", "export", "events", "events-unsynced"])
def test_a_slice_of_the_kills(name: str) -> None:
    code = f"from edge_effnet.benchmarks.fuzz.kills import SCENES, run_scene; import json; print(json.dumps(run_scene(SCENES[{name!r}], 8).__dict__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    found = kills.Tally(**json.loads(done.stdout))
    assert found.kills == 8
    assert found.sound


def test_a_torn_file_and_litter_would_be_seen(tmp_path: Path) -> None:
    tally = kills.Tally()
    (tmp_path / "out").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out" / "model.tflite").write_bytes(b"old" * 699_999)
    (tmp_path / "out" / ".foreign").touch()
    (tmp_path / "out" / ".edge-effnet-abcd1234.part").touch()  # killed before it had its name: empty, and left alone
    kills._look(kills.SCENES["write"], tmp_path / "out", tmp_path / "tmp", tally)
    assert (tally.kills, tally.during, tally.torn, tally.litter) == (1, 1, 1, 1)
    assert not tally.sound


@pytest.mark.parametrize(
    ("left", "written", "next_event", "found"),
    [
        ([5, 6], range(5, 7), b'{"number": 0}\n', {}),
        ([5, 6, 7], range(5, 7), b'{"number": 0}\n', {"during": 1}),
        ([6], range(5, 7), b'{"number": 0}\n', {"lost": 1}),
        ([], range(5, 7), b'{"number": 0}\n', {"lost": 2}),
        ([5, 6], range(5, 7), b'{"number": 0', {"torn": 1}),
        ([5, 6], range(5, 7), b'{"number\n', {"torn": 1}),
    ],
)
def test_lost_and_torn_events_would_be_seen(
    tmp_path: Path, left: list[int], written: range, next_event: bytes, found: dict[str, int]
) -> None:
    def step(folder: Path, _: int) -> None:
        with open(folder / "events.jsonl", "ab") as file:
            file.write(next_event)

    path, tally = tmp_path / "events.jsonl", kills.Tally()
    path.write_bytes(b"".join(b'{"number": %d}\n' % number for number in left))
    kills._look_at_lines(step, path, written, tally)
    assert tally == kills.Tally(**found)
    assert tally.sound == (found in ({}, {"during": 1}))


def test_a_torn_event_is_mended_by_the_next(tmp_path: Path) -> None:
    path, tally = tmp_path / "events.jsonl", kills.Tally()
    path.write_bytes(b'{"number": 5}\n{"number": 6, "label": "x')
    kills._look_at_lines(kills._events, path, range(5, 6), tally)
    assert tally == kills.Tally(during=1, mended=1)
    assert not path.exists(), "the next child begins a new one"


def test_kills_wait_for_a_temporary_file(tmp_path: Path) -> None:
    moment = kills._moment(replace(kills.SCENES["write"], near=1.0, longest_s=0.0), tmp_path, np.random.default_rng(0))
    threading.Timer(0.2, (tmp_path / ".part").touch).start()
    moment()
    assert kills._hidden(tmp_path) == [".part"]


def test_what_the_scenes_take_for_whole(tmp_path: Path, files: dict[str, dict[str, bytes]]) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(files["tflite"]["lite0-fp32"])
    assert kills._is_exported(path)
    path.write_bytes(files["tflite"]["lite0-fp32"][:-10])
    assert not kills._is_exported(path)
    for name, whole, torn in (("r.json", '{"a": 1}', '{"a"'), ("r.html", "<html></html>\n", "<html></ht")):
        (tmp_path / name).write_text(whole)
        assert kills._is_exported(tmp_path / name)
        (tmp_path / name).write_text(torn)
        assert not kills._is_exported(tmp_path / name)
    for lines, whole in (
        (b'{"a":1}\n{"b":2}\n', True),
        (b'{"a":1}\n{"b"', True),
        (b'{"a"\n', False),
        (b'{"a"\n{"b":2}\n', False),
        (b"\xff\n", False),
    ):
        (tmp_path / "e.jsonl").write_bytes(lines)
        assert kills._are_lines(tmp_path / "e.jsonl") is whole


def test_a_campaigns_seeds_are_sound(files: dict[str, dict[str, bytes]]) -> None:
    for made in files.values():
        for name, data in made.items():
            document = read_model_file(data).document
            assert document is not None, name
            assert document.weights_sha256 is not None
            assert read_model_file(data).understood, "a file of this project needs no trial run"
            assert read_model_file(unsealed(data)).document is not None
    with pytest.raises(ModelFileError):
        unsealed(b"x")
