"""Checkpoints as trainers write them, of any weights: some sixty layouts after public training scripts.

Each function gives what is saved of a run, whose weights are tiny and of a seed.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import pickle
import random
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from support.modules import make_module

Tensors: TypeAlias = dict[str, torch.Tensor]
LABELS = ("boot", "coat", "hat", "shirt", "shoe")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


class Trap:
    """Writes into `trace` when it is unpickled."""

    trace = Path("trace")

    def __reduce__(self) -> Any:
        return Path.write_text, (self.trace, "code ran")


class Sprung:
    """An object whose state is handed to code of its own."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __setstate__(self, state: Any) -> None:
        Trap.trace.write_text("code ran")


class Mode(enum.Enum):
    MAX = "max"


@dataclass
class Config:
    """An experiment's options as a dataclass."""

    lr: float = 1e-3
    image_size: int = 64
    out: Path = Path("runs/7")
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    mode: Mode = Mode.MAX


class AttributeDict(dict):  # type: ignore[type-arg]
    """As Lightning keeps hyper-parameters."""


class Node:
    """OmegaConf's values: a record each."""

    def __init__(self, value: Any) -> None:
        self._metadata, self._parent = types.SimpleNamespace(ref_type=Any, object_type=None), None
        self._val = value


class DictConfig:
    """OmegaConf's mappings: the state holds `_content` (omegaconf/dictconfig.py, `__getstate__`)."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._metadata, self._parent = types.SimpleNamespace(key_type=str), None
        self._content = {
            key: DictConfig(value)
            if isinstance(value, Mapping)
            else ListConfig(value)
            if isinstance(value, list)
            else Node(value)
            for key, value in content.items()
        }


class ListConfig:
    def __init__(self, content: list[Any]) -> None:
        self._content = [Node(value) for value in content]


class Network(nn.Module):
    """A user's own class around the network."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.criterion = model, nn.CrossEntropyLoss(weight=torch.ones(5))


@dataclass(frozen=True)
class Run:
    """best: the weights that a reader should take; other: those it should not, of the same run."""

    best: Tensors
    other: Tensors


def module_of(tensors: Tensors) -> nn.Module:
    return make_module({key: value.numpy() for key, value in tensors.items()})


def _optimizer(tensors: Tensors) -> Any:
    """Adam's state after a step, by number, and its groups."""
    state = {
        index: {"step": torch.tensor(1.0), "exp_avg": value * 0, "exp_avg_sq": value * 0 + 1}
        for index, value in enumerate(tensors.values())
    }
    return {"state": state, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": list(state)}]}


def _prefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {prefix + key: value for key, value in tensors.items()}


def _infixed(tensors: Tensors, infix: str) -> Tensors:
    """As a wrapper around every second level names them."""
    return {
        ".".join((first, infix, rest)) if (rest := key.partition(".")[2]) else key: value
        for key, value in tensors.items()
        for first in [key.partition(".")[0]]
    }


def _timm_args() -> argparse.Namespace:
    """timm's train.py keeps all its options."""
    return argparse.Namespace(
        model="efficientnet_b0", data_dir="/data", img_size=None, input_size=None, crop_pct=0.9, mean=list(MEAN),
        std=list(STD), interpolation="bilinear", num_classes=5, opt="sgd", class_map="", device_modules=None,
    )  # fmt: skip


def timm_train(run: Run) -> Any:
    return {
        "epoch": 7, "arch": "efficientnet_b0", "state_dict": run.other, "optimizer": _optimizer(run.other), "version": 2,
        "args": _timm_args(), "amp_scaler": {"scale": 65536.0, "_growth_tracker": 3}, "state_dict_ema": run.best,
        "metric": np.float64(83.4),
    }  # fmt: skip


def timm_train_plain(run: Run) -> Any:
    return {
        "epoch": 7,
        "arch": "efficientnet_b0",
        "state_dict": run.best,
        "optimizer": _optimizer(run.best),
        "args": _timm_args(),
        "metric": np.float32(1),
    }


def lightning(run: Run) -> Any:
    return {
        "epoch": 3, "global_step": 99, "pytorch-lightning_version": "2.5.0",
        "state_dict": {**_prefixed(run.best, "model."), "criterion.weight": torch.ones(5)},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_acc'}": {"best_model_score": torch.tensor(0.9), "dirpath": Path("a"), "best_k_models": {}}},
        "optimizer_states": [_optimizer(run.best)], "lr_schedulers": [{"_step_count": 4, "_last_lr": [np.float64(1e-3)]}],
        "MixedPrecision": {"scale": 1024.0}, "hparams_name": "cfg",
        "hyper_parameters": DictConfig({"lr": 1e-3, "data": {"image_size": 64, "mean": list(MEAN), "std": list(STD)}, "classes": list(LABELS)}),
        "datamodule_hparams_name": "kwargs", "datamodule_hyper_parameters": AttributeDict(root=Path("/data")),
    }  # fmt: skip


def lightning_compiled(run: Run) -> Any:
    hyper = AttributeDict(
        lr=np.float32(1e-3), path=Path("/x"), config=Config(), optimizer=torch.optim.Adam, image_size=64
    )
    return {"state_dict": _prefixed(run.best, "net._orig_mod."), "hyper_parameters": hyper, "epoch": 3}


def lightning_student_and_teacher(run: Run) -> Any:
    return {"state_dict": {**_prefixed(run.other, "student."), **_prefixed(run.best, "teacher.")}, "epoch": 3}


def fastai_save(run: Run) -> Any:
    return {"model": run.best, "opt": {"state": [{}], "hypers": [{"lr": 1e-3, "mom": 0.9}]}}


def fastai_export(run: Run) -> Any:
    vocab = Sprung(items=list(LABELS))
    return Sprung(
        model=module_of(run.best), dls=Sprung(vocab=vocab), path=Path("."), metrics=[len], opt_func=torch.optim.Adam
    )


def detectron(run: Run) -> Any:
    return {
        "model": {key: value.numpy() for key, value in run.best.items()},
        "__author__": "someone",
        "matching_heuristics": True,
    }


def mmengine(run: Run) -> Any:
    meta = {
        "epoch": 3,
        "cfg": "model = dict()",
        "seed": 1,
        "dataset_meta": {"classes": LABELS},
        "time": datetime.datetime(2026, 1, 1),
    }
    hub = Sprung(log_scalars=collections.OrderedDict(loss=Sprung(log_history=np.ones(4))))
    return {
        "meta": meta,
        "message_hub": hub,
        "state_dict": run.other,
        "ema_state_dict": {"steps": torch.tensor(9), **_prefixed(run.best, "module.")},
    }


def catalyst(run: Run) -> Any:
    metrics = {"valid": {"loss": 0.2, "accuracy01": np.float64(0.9)}}
    return {
        "model_state_dict": run.best,
        "criterion_state_dict": {},
        "optimizer_state_dict": _optimizer(run.best),
        "scheduler_state_dict": {},
        "epoch_metrics": metrics,
        "stage": "train",
    }


def ignite(run: Run) -> Any:
    return collections.OrderedDict(
        trainer=collections.OrderedDict(epoch_length=9, iteration=27), model=run.best, optimizer=_optimizer(run.best)
    )


def deepspeed(run: Run) -> Any:
    shapes = [{key: value.shape for key, value in run.best.items()}]
    return {
        "module": run.best,
        "buffer_names": ["bn1.running_mean"],
        "optimizer": None,
        "param_shapes": shapes,
        "frozen_param_shapes": None,
        "ds_config": {"fp16": {"enabled": True}},
        "ds_version": "0.15",
        "dp_world_size": 2,
        "data_sampler": None,
        "random_ltd": None,
    }


def fsdp(run: Run) -> Any:
    return {
        "model": _prefixed(
            _infixed(run.best, "_fsdp_wrapped_module._checkpoint_wrapped_module"), "_fsdp_wrapped_module."
        ),
        "epoch": 1,
    }


def torchvision_references(run: Run) -> Any:
    args = argparse.Namespace(
        model="efficientnet_b0", val_crop_size=64, val_resize_size=72, interpolation="bilinear", workers=8
    )
    averaged = {"n_averaged": torch.tensor(40), **_prefixed(run.best, "module.")}
    return {
        "model": run.other,
        "optimizer": _optimizer(run.other),
        "lr_scheduler": {"_schedulers": [{"last_epoch": 1}]},
        "epoch": 1,
        "args": args,
        "model_ema": averaged,
        "scaler": {},
    }


def ema_pytorch(run: Run) -> Any:
    return {
        "initted": torch.tensor(True),
        "step": torch.tensor(3),
        **_prefixed(run.other, "online_model."),
        **_prefixed(run.best, "ema_model."),
    }


def super_gradients(run: Run) -> Any:
    processing = {"class_names": list(LABELS)}
    return {"net": run.other, "ema_net": run.best, "acc": torch.tensor(0.9), "processing_params": processing}


def kaggle(run: Run) -> Any:
    encoder = Sprung(classes_=np.array(LABELS, dtype=object))
    return {"model": run.best, "label_encoder": encoder, "preds": np.zeros((4, 5)), "fold": 0}


def averaged_model(run: Run) -> Any:
    return {"n_averaged": torch.tensor(40), **_prefixed(run.best, "module.")}


def swa_beside(run: Run) -> Any:
    return {
        "model": run.other,
        "swa_model": {"n_averaged": torch.tensor(4), **_prefixed(run.best, "module.")},
        "swa_n": 4,
    }


def distributed(run: Run) -> Any:
    return collections.OrderedDict(_prefixed(run.best, "module."))


def distributed_and_compiled(run: Run) -> Any:
    return {"state_dict": _prefixed(run.best, "_orig_mod.module."), "best_acc1": torch.tensor(88.0)}


def regionally_compiled(run: Run) -> Any:
    return _infixed(run.best, "_orig_mod")


def cifar(run: Run) -> Any:
    return {"net": _prefixed(run.best, "module."), "acc": 91.2, "epoch": 10}


def tutorial(run: Run) -> Any:
    return {
        "epoch": 2,
        "model_state_dict": run.best,
        "optimizer_state_dict": _optimizer(run.best),
        "loss": torch.tensor(0.3),
    }


def slowfast(run: Run) -> Any:
    return {
        "epoch": 2,
        "model_state": run.best,
        "optimizer_state": _optimizer(run.best),
        "cfg": "MODEL:\n  ARCH: x\n",
        "scaler_state": {},
    }


def imagenet_example(run: Run) -> Any:
    return {
        "epoch": 9,
        "arch": "efficientnet_b0",
        "state_dict": _prefixed(run.best, "module."),
        "best_acc1": torch.tensor(1.0),
        "scheduler": {"T_max": 9},
    }


def network_key(run: Run) -> Any:
    return {"network": run.best, "config": Config(), "rng": random.getstate()[:2], "torch_rng": torch.get_rng_state()}


def basicsr(run: Run) -> Any:
    return {"params": run.other, "params_ema": run.best}


def student_and_teacher(run: Run) -> Any:
    return {"student": run.other, "teacher": run.best, "epoch": 5, "dino_loss": {"center": torch.zeros(1, 5)}}


def generator_and_discriminator(run: Run) -> Any:
    return {"generator": run.other, "discriminator": run.best, "g_optim": _optimizer(run.other)}


def momentum_encoders(run: Run) -> Any:
    both = {
        **_prefixed(run.best, "module.encoder_q."),
        **_prefixed(run.other, "module.encoder_k."),
        "module.queue": torch.ones(5, 9),
    }
    return {"state_dict": both, "arch": "efficientnet_b0"}


def folds(run: Run) -> Any:
    return {
        "fold_0": {"model": run.other, "score": np.float64(0.8)},
        "fold_1": {"model": run.best, "score": np.float64(0.9)},
    }


def nested(run: Run) -> Any:
    return {
        "checkpoint": {
            "model": {"weights": run.best},
            "class_to_idx": {name: index for index, name in enumerate(LABELS)},
        },
        "date": datetime.date(2026, 1, 1),
    }


def composer(run: Run) -> Any:
    state = {
        "model": _prefixed(run.best, "module."),
        "optimizers": {"Adam": _optimizer(run.best)},
        "timestamp": {"Timestamp": {"epoch": 1, "batch_wct": datetime.timedelta(0)}},
    }
    return {
        "state": state,
        "rng": [
            {"python": random.getstate(), "numpy": np.random.get_state(legacy=False), "torch": torch.get_rng_state()}
        ],
    }


def determined(run: Run) -> Any:
    return {
        "models_state_dict": [run.best],
        "optimizers_state_dict": [_optimizer(run.best)],
        "callbacks": {},
        "rng_state": {},
    }


def tuple_of_state(run: Run) -> Any:
    return (12, run.best, _optimizer(run.best))


def train_state(run: Run) -> Any:
    return Sprung(
        model=run.best,
        step=np.int64(9),
        config=Config(),
        device=torch.device("cpu"),
        dtype=torch.float16,
        size=torch.Size([3, 4]),
    )


def every_kind_of_value(run: Run) -> Any:
    history: Any = collections.defaultdict(list, loss=[np.float32(0.1)], lr=[1e-3])
    values = {
        "counter": collections.Counter("aab"), "queue": collections.deque([1, 2], 5), "mode": Mode.MAX, "set": {1, 2},
        "array": np.arange(4), "objects": np.array([None, "a"], object), "fields": np.zeros(2, [("a", "f4"), ("b", "i8")]),
        "quantiles": np.quantile(np.arange(9.0), [0.1, 0.9]), "big": 1 << 90, "complex": 1 + 2j, "slice": slice(1, 2),
        "range": range(3), "bytes": bytearray(b"abc"), "device": torch.device("cuda", 0), "path": Path("a/b"),
        "when": datetime.datetime.now(datetime.timezone.utc), "loss": nn.CrossEntropyLoss(), "simple": types.SimpleNamespace(a=1),
        "optimizer": torch.optim.SGD([nn.Parameter(torch.ones(3))], lr=0.1), "function": len, "sparse": torch.eye(3).to_sparse(),
    }  # fmt: skip
    return {"values": values, "history": history, "model": run.best}


def parameters(run: Run) -> Any:
    return {
        key: nn.Parameter(value, requires_grad=False) if value.is_floating_point() else value
        for key, value in run.best.items()
    }


def views_of_one_storage(run: Run) -> Any:
    flat = torch.cat([value.flatten() for value in run.best.values()])
    parts = flat.split([value.numel() for value in run.best.values()])
    return {key: part.view(value.shape) for (key, value), part in zip(run.best.items(), parts, strict=True)}


def channels_last(run: Run) -> Any:
    return {
        key: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
        for key, value in run.best.items()
    }


def half(run: Run) -> Any:
    return {"model": {key: value.half() for key, value in run.best.items()}}


def bfloat16(run: Run) -> Any:
    return {"model": {key: value.bfloat16() for key, value in run.best.items()}}


def double(run: Run) -> Any:
    return {key: value.double() for key, value in run.best.items()}


def whole_module(run: Run) -> Any:
    return module_of(run.best)


def whole_parallel_module(run: Run) -> Any:
    return nn.DataParallel(module_of(run.best))


def whole_own_module(run: Run) -> Any:
    return {"model": Network(module_of(run.best)), "classes": list(LABELS)}


def whole_modules_average(run: Run) -> Any:
    """ultralytics: modules in half precision, an average among them."""
    return {
        "epoch": -1,
        "model": module_of(run.other).half(),
        "ema": module_of(run.best).half(),
        "updates": 9,
        "train_args": {"imgsz": 64},
        "date": "2026-01-01",
    }


def normaliser_before(run: Run) -> Any:
    """nn.Sequential(Normalize(mean, std), network), the first with buffers."""
    statistics = {"0.mean": torch.tensor(MEAN).view(1, 3, 1, 1), "0.std": torch.tensor(STD).view(1, 3, 1, 1)}
    return {"model": {**statistics, **_prefixed(run.best, "1.")}}


def normaliser_of_levels(run: Run) -> Any:
    """As detectors keep it: of levels 0..255."""
    statistics = {"pixel_mean": torch.tensor(MEAN) * 255, "pixel_std": torch.tensor(STD) * 255}
    return {**statistics, **_prefixed(run.best, "backbone.")}


def mmpretrain(run: Run) -> Any:
    """A backbone and a head, the classes in `dataset_meta`."""
    tensors = {("head." if "classifier" in key else "backbone.") + key: value for key, value in run.best.items()}
    return {"meta": {"dataset_meta": {"classes": LABELS}}, "state_dict": tensors, "param_schedulers": [{}]}


def backbone_and_layer(run: Run) -> Any:
    """A headless network and a linear layer of the wrapper's."""
    trunk = {key: value for key, value in run.best.items() if "classifier" not in key}
    head = {f"head.1.{item}": run.best[f"classifier.{item}"] for item in ("weight", "bias")}
    return {**_prefixed(trunk, "backbone."), **head}


def average_of_a_callback(run: Run) -> Any:
    """Lightning with an average in a callback's state."""
    return {
        "state_dict": {**_prefixed(run.other, "model."), "train_acc.tp": torch.zeros(5)},
        "callbacks": {"EMACallback": {"ema_state_dict": _prefixed(run.best, "model.")}},
    }


def averaged_and_compiled(run: Run) -> Any:
    return {"model": {"n_averaged": torch.tensor(3), **_prefixed(run.best, "module._orig_mod.module.")}}


def average_of_a_teacher(run: Run) -> Any:
    """FixMatch and mean teacher."""
    return {"state_dict": run.other, "ema_state_dict": run.best, "best_acc": 1.0}


def moments_by_name(run: Run) -> Any:
    """An optimizer whose state goes by the weights' names, before them."""
    moments = {key: {"exp_avg": value * 3, "exp_avg_sq": value * 4} for key, value in run.best.items()}
    return {"optimizer": {"state": moments}, "params": run.best}


def online_and_target(run: Run) -> Any:
    """BYOL's two encoders in one mapping."""
    both = {**_prefixed(run.best, "online_encoder.net."), **_prefixed(run.other, "target_encoder.net.")}
    return {"state_dict": both}


#: How a content becomes a file; torch.save's archive where nothing is said.
Save: TypeAlias = Callable[[Any, Path], None]


def _legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def _pickled(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, 4))


def _old_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, 2))


@dataclass(frozen=True)
class Layout:
    """make: content of a run. options: what the user must say. kind: what the weights were rounded to."""

    make: Callable[[Run], Any]
    name: str = "checkpoint.pth"
    save: Save = torch.save
    options: Mapping[str, Any] = field(default_factory=dict)
    kind: torch.dtype = torch.float32


def _layouts(*layouts: Layout) -> dict[str, Layout]:
    found = {layout.make.__name__: layout for layout in layouts if layout.save is torch.save}
    return found | {
        f"{layout.make.__name__}{layout.save.__name__}": layout for layout in layouts if layout.save is not torch.save
    }


LAYOUTS = _layouts(
    *map(Layout, (
        timm_train_plain, fastai_save, detectron, catalyst, ignite, deepspeed, fsdp, averaged_model, distributed,
        distributed_and_compiled, regionally_compiled, tutorial, network_key, nested, determined, tuple_of_state,
        train_state, every_kind_of_value, parameters, views_of_one_storage, channels_last, double, whole_module,
        whole_parallel_module, whole_own_module, basicsr, swa_beside, mmengine, torchvision_references,
        ema_pytorch, super_gradients, kaggle, normaliser_before, normaliser_of_levels, mmpretrain, backbone_and_layer,
        average_of_a_callback, averaged_and_compiled, average_of_a_teacher, moments_by_name,
    )),
    Layout(timm_train, "model_best.pth.tar"),
    Layout(lightning, "epoch=3-val_acc=0.90.ckpt"),
    Layout(lightning_compiled, "last.ckpt"),
    Layout(lightning_student_and_teacher, "last.ckpt", options={"weights": "teacher"}),
    Layout(fastai_export, "export.pkl"),
    Layout(cifar, "ckpt.t7"),
    Layout(slowfast, "checkpoint_epoch_00002.pyth"),
    Layout(imagenet_example, "checkpoint.pth.tar"),
    Layout(student_and_teacher, options={"weights": "teacher"}),
    Layout(generator_and_discriminator, "g_00010", options={"weights": "discriminator"}),
    Layout(momentum_encoders, options={"weights": "encoder_q"}),
    Layout(online_and_target, options={"weights": "online_encoder"}),
    Layout(folds, options={"weights": "fold_1"}),
    Layout(composer, "ep1-ba9-rank0.pt"),
    Layout(half, kind=torch.float16),
    Layout(bfloat16, kind=torch.bfloat16),
    Layout(whole_modules_average, "best.pt", kind=torch.float16),
    Layout(tutorial, "model.pt", save=_legacy),
    Layout(whole_own_module, "model.pt", save=_legacy),
    Layout(bfloat16, "model.pt", save=_legacy, kind=torch.bfloat16),
    Layout(detectron, "model.pkl", save=_pickled),
    Layout(lightning, "model.pkl", save=_pickled),
    Layout(whole_module, "model.pkl", save=_old_pickle),
)  # fmt: skip


def write(layout: Layout, folder: Path, run: Run) -> Path:
    """The file, with a trap in it where its content is a mapping."""
    path = folder / layout.name
    content = layout.make(run)
    if type(content) is dict and not any(isinstance(value, torch.Tensor) for value in content.values()):
        content = {"callbacks_": [Trap()], **content}
    layout.save(content, path)
    return path
