"""Training of the demo's two models on the CPU, run by ``scripts/train_demo_models``."""
