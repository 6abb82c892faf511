"""promptmill: seed prompts in, graded training records out, continuously."""

from importlib.metadata import version

__version__ = version("promptmill")
