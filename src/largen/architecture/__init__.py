"""What a network is: nodes, composition, presets, the walk, the chain normal form, text form. No theory."""
