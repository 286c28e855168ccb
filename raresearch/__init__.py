"""raresearch: studies of neural networks for rare-event searches."""
