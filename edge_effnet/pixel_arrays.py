"""Frames as cameras give them (colour orders, a fourth channel, grey, planar YUV) to RGB images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from edge_effnet.arguments import whole_number
from edge_effnet.errors import ImageError, UsageError

if TYPE_CHECKING:
    from PIL import Image

#: What the values of an array stand for:
#: "rgb", "bgr": uint8[H, W, 3] (picamera2 calls them BGR888 and RGB888; OpenCV gives bgr).
#: "rgba", "bgra": uint8[H, W, 4], the fourth left out (picamera2: XBGR8888, its default, and XRGB8888).
#: "grey": uint8[H, W] or uint8[H, W, 1].
#: "yuv420": uint8[3·H/2, stride], planes Y, U, V one below the other as I420 (picamera2's and libcamera's YUV420).
ChannelOrder: TypeAlias = Literal["rgb", "bgr", "rgba", "bgra", "grey", "yuv420"]
CHANNEL_ORDERS: tuple[ChannelOrder, ...] = get_args(ChannelOrder)
_SHAPES = {
    "rgb": "uint8[height, width, 3]",
    "bgr": "uint8[height, width, 3]",
    "rgba": "uint8[height, width, 4]",
    "bgra": "uint8[height, width, 4]",
    "grey": "uint8[height, width]",
    "yuv420": "uint8[3 · height / 2, width], height and width even",
}


def image_from_array(array: npt.NDArray[Any], channels: ChannelOrder, *, width: int | None = None) -> Image.Image:
    """An RGB PIL image, PIL's own copy. width: of the picture in "yuv420" rows that are padded, as libcamera's are.

    Raises ImageError for an array of another shape, UsageError for an unknown order.
    """
    from PIL import Image

    check_array(array, channels)
    width = None if width is None else whole_number(width, "width", least=1)
    if channels == "yuv420":
        return Image.fromarray(_from_yuv420(array, width or array.shape[1]))
    if channels == "grey":
        return Image.fromarray(array.reshape(array.shape[:2])).convert("RGB")
    return _from_colours(array[:, :, :3], "bgr" if channels.startswith("bgr") else "rgb")


def rgb_array(array: npt.NDArray[Any], channels: ChannelOrder, *, width: int | None = None) -> npt.NDArray[np.uint8]:
    """uint8[H, W, 3], RGB, of a frame; a view where that will do. Raises as `image_from_array` does."""
    check_array(array, channels)
    if channels in ("rgb", "rgba"):
        return array if channels == "rgb" else array[:, :, :3]
    if channels in ("bgr", "bgra"):
        return array[:, :, 2::-1]
    return np.asarray(image_from_array(array, channels, width=width))


def check_array(array: npt.NDArray[Any], channels: ChannelOrder) -> None:
    """Raises ImageError, naming the argument that would fit, unless the array has the shape that `channels` says."""
    if channels not in CHANNEL_ORDERS:
        raise UsageError(f"channels is {channels!r}; expected one of {', '.join(CHANNEL_ORDERS)}")
    fitting = _fitting(array.shape) if array.dtype == np.uint8 else ()
    if channels not in fitting or 0 in array.shape:
        others = fitting if channels not in fitting else ()
        hint = f"; this may be channels={' or '.join(map(repr, others))}" if others else ""
        raise ImageError(
            f"frame is {array.dtype}{list(array.shape)}; expected {_SHAPES[channels]} for channels={channels!r}{hint}"
        )


def _fitting(shape: tuple[int, ...]) -> tuple[str, ...]:
    """The orders that arrays of this shape may have."""
    if len(shape) == 3:
        return {1: ("grey",), 3: ("rgb", "bgr"), 4: ("rgba", "bgra")}.get(shape[2], ())
    if len(shape) != 2:
        return ()
    return ("grey", "yuv420") if shape[0] % 3 == 0 and shape[1] % 2 == 0 else ("grey",)


def _from_colours(array: npt.NDArray[Any], channels: Literal["rgb", "bgr"]) -> Image.Image:
    """One that is a view turned round is read as it lies in memory, which is faster to copy."""
    from PIL import Image

    height, width, _ = array.shape
    upwards, mirrored, reversed_channels = (stride < 0 for stride in array.strides)
    lying = np.ascontiguousarray(
        array[:: -1 if upwards else 1, :: -1 if mirrored else 1, :: -1 if reversed_channels else 1]
    )
    order = "BGR" if (channels == "bgr") != reversed_channels else "RGB"
    image = Image.frombuffer("RGB", (width, height), lying, "raw", order, 0, -1 if upwards else 1)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image


def _from_yuv420(planes: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """uint8[H, W, 3], RGB, of I420 planes with BT.601's limited range, as OpenCV's COLOR_YUV2RGB_I420 takes them.

    A row of U or V has half the stride of Y's: two of them lie in one row of the array.
    """
    rows, stride = planes.shape
    height = 2 * rows // 3
    if width % 2 or not 0 < width <= stride:
        raise ImageError(f"frame is uint8[{rows}, {stride}] with width {width}; expected an even width of at most that")
    chroma = planes[height:].reshape(2, height // 2, stride // 2)[:, :, : width // 2].astype(np.float32) - 128
    u, v = (np.repeat(np.repeat(plane, 2, axis=0), 2, axis=1) for plane in chroma)
    luma = 1.164 * np.maximum(planes[:height, :width].astype(np.float32) - 16, 0)
    rgb = np.stack((luma + 1.596 * v, luma - 0.391 * u - 0.813 * v, luma + 2.018 * u), axis=-1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
