"""Data as networks want it: scaled inputs, centred one-hot targets, files read and split."""

from largen.data.scaling import one_hot as one_hot, standardize as standardize, warn_if_unscaled as warn_if_unscaled
