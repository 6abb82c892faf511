"""Training of the demo's two models, on the CPU; ``scripts/train_demo_models`` runs it."""
