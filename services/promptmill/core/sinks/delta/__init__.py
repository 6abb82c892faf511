"""The store on Delta Lake; the only code that imports ``deltalake``."""

from promptmill.core.sinks.delta.compaction import compact
from promptmill.core.sinks.delta.reader import DeltaReader
from promptmill.core.sinks.delta.sink import DeltaSink
from promptmill.core.sinks.delta.table import TableSettings
from promptmill.core.sinks.delta.upkeep import vacuum

__all__ = ["DeltaReader", "DeltaSink", "TableSettings", "compact", "vacuum"]
