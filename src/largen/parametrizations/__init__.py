"""How every parameter starts and moves: standard deviations and learning rates, of networks and of other people's models."""
