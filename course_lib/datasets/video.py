"""Pictures into mp4 files and back, where PyAV is installed (``pip install av``); nothing else in the course needs it."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np

# Every other frame is a key frame (g), so that single frames are quick to reach; no frame waits for a later one (bf).
CODEC, OPTIONS = "libx264", {"crf": "12", "g": "2", "bf": "0"}


def encode(pictures: Iterable[np.ndarray], path: str | Path, fps: float | int) -> None:
    """Write uint8 pictures (H, W, 3) as an mp4. Video is lossy; H and W must be even. Raises ValueError if they are not."""
    av = _pyav()
    with av.open(str(path), "w", format="mp4") as file:
        stream = None
        for picture in pictures:
            if stream is None:
                height, width = picture.shape[:2]
                if height % 2 or width % 2:
                    raise ValueError(f"Video needs an even height and width, got {height}x{width}. Try another size.")
                stream = file.add_stream(CODEC, rate=Fraction(fps).limit_denominator(1000), options=OPTIONS)
                stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        if stream is None:
            raise ValueError("Expected at least one picture, got none.")
        file.mux(stream.encode())


def decode(path: str | Path, times: list[float], fps: float | int) -> Iterator[np.ndarray]:
    """The uint8 pictures (H, W, 3) shown at ``times`` (seconds, ascending), at most half a frame away from them.

    Raises ValueError if the file ends before the last of them, or is no video.
    """
    av, waiting = _pyav(), list(times)
    try:
        with av.open(str(path)) as file:
            for frame in file.decode(video=0):
                while waiting and abs(frame.time - waiting[0]) < 0.5 / fps:
                    waiting.pop(0)
                    yield frame.to_ndarray(format="rgb24")
                if not waiting:
                    return
    except (av.error.InvalidDataError, av.error.FileNotFoundError) as error:
        raise ValueError(f"{path} is not a video that can be read ({error}). Copy it again.") from error
    if waiting:
        raise ValueError(
            f"{path} shows nothing at {waiting[0]:.3f} s: it is truncated, or of another dataset. Copy it again."
        )


def _pyav() -> ModuleType:
    try:
        import av  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ValueError("Video needs PyAV. Try: pip install av, or pictures as PNG (video=False).") from error
    return av
