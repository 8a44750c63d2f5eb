"""How signals, differences and gradients travel through depth at infinite width."""
