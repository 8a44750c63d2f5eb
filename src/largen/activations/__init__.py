"""What a neuron does: phi, derivatives, kinks, its dual maps and moments; its critical point."""

from largen.activations import table as table  # registers the named activations
