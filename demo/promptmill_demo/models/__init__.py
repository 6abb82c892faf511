"""Small models that promptmill trains itself, so that a demo needs no download.

They are real architectures in Hugging Face format: a Nemotron causal model that answers small
tasks, often rightly, and a Llama sequence classifier with five labels that grades the answers.
What they can and cannot do is measured in ``models/MODEL_CARD.md``.
"""

from promptmill_demo.models.demo import DemoModels, make_demo_models

__all__ = ["DemoModels", "make_demo_models"]
