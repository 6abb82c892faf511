"""The training data as a stream, for trainers that read the store while it grows."""

from promptmill.training.position import StreamState, merge_states
from promptmill.training.stream import RecordStream, stream
from promptmill.training.weights import by_score, by_tag

__all__ = ["RecordStream", "StreamState", "by_score", "by_tag", "merge_states", "stream"]
