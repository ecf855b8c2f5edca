"""Which frames of a sequence stand for its expression, and which for neutral."""

from collections.abc import Sequence
from typing import TypeVar

from dmsrl_jax.expressions import EXPRESSIONS

Frame = TypeVar('Frame', int, str)
NEUTRAL = EXPRESSIONS.index('neutral')
TOO_SHORT = 'sequence with too few frames'
NO_ONSET = 'neutral of a sequence whose first frames are missing'
NO_PEAK = 'sequence whose peak frame is missing'


def to_peak(
    frames: Sequence[Frame], label: int, *, peaks: int, onset: Frame | None
) -> list[tuple[Frame, int]]:
    """Frames of a sequence that runs from neutral to the peak.

    Args:
        frames: those there are, in their order.
        label: the expression at the peak.
        peaks: how many of the last frames to take.
        onset: the last frame that is still neutral: the first one there is counts as neutral if it
            comes no later. None to take no neutral.

    Returns:
        (frame, label) in their order; empty if the sequence is too short for different frames.
    """
    begun = onset is not None and bool(frames) and frames[0] <= onset
    neutral = [(frames[0], NEUTRAL)] if begun else []
    if len(frames) < peaks + len(neutral):
        return []
    return neutral + [(frame, label) for frame in frames[-peaks:]]


def around_peak(count: int, label: int, *, peaks: int, neutral: bool) -> list[tuple[int, int]]:
    """Frames of a clip that runs from neutral to the peak and back: those in the middle.

    Args:
        count: number of frames.
        label: the expression at the peak.
        peaks: how many frames to take in the middle.
        neutral: whether to take the first one, too, as neutral.

    Returns:
        (number of the frame from 0, label); empty if the clip is too short for different frames.
    """
    start = (count - peaks) // 2
    if start < neutral:
        return []
    first = [(0, NEUTRAL)] if neutral else []
    return first + [(start + i, label) for i in range(peaks)]
