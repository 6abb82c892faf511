"""Tasks whose answers a program can check: questions, facts, and what counts as right."""

from promptmill.models.tasks.catalogue import FAMILIES, Kind, kind_named, load_kinds
from promptmill.models.tasks.facts import Fact
from promptmill.models.tasks.task import Split, Task, all_tasks, demo_tasks
from promptmill.models.tasks.truth import Finding, find_answer, is_correct

__all__ = [
    "FAMILIES",
    "Fact",
    "Finding",
    "Kind",
    "Split",
    "Task",
    "all_tasks",
    "demo_tasks",
    "find_answer",
    "is_correct",
    "kind_named",
    "load_kinds",
]
