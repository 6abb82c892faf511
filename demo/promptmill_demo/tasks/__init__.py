"""Tasks whose answers a program can check: questions, facts and the check itself."""

from promptmill_demo.tasks.catalogue import FAMILIES, Kind, kind_named, load_kinds
from promptmill_demo.tasks.facts import Fact
from promptmill_demo.tasks.task import Split, Task, all_tasks, demo_tasks
from promptmill_demo.tasks.truth import Finding, find_answer, is_correct

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
