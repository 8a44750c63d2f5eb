"""The first corrections in 1/n: fluctuations of the metric, its mean, and the three-point cumulant of residual networks."""
