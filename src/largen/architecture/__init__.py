"""What a network is: nodes, composition, presets, the walk, the chain normal form, text form. No theory."""

from largen.architecture import attention as attention, branches as branches, spatial as spatial  # register their nodes
